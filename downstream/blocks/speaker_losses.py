"""Losses that teach a network to tell speakers apart (specs: downstream-speaker.md 4.4).

All take (B, ``hidden_dim``) vectors and (B,) speaker indices, and give a scalar. Names of parameters are S3PRL's.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SoftmaxLoss(nn.Module):
    """A linear classifier and cross entropy.

    Args:
        hidden_dim: width of the vectors.
        speaker_num: classes.
        no_args: a field that configs have in place of options.
    """

    def __init__(self, hidden_dim: int, speaker_num: int, no_args: bool = True):
        super().__init__()
        self.fc = nn.Linear(hidden_dim, speaker_num)

    def forward(self, vectors: Tensor, speakers: Tensor) -> Tensor:
        return F.cross_entropy(self.fc(vectors), speakers)


class AMSoftmaxLoss(nn.Module):
    """Cross entropy of scaled cosines, the true one less a margin (Wang et al. 2018, additive margin).

    Args:
        hidden_dim: width of the vectors.
        speaker_num: classes.
        s: scale.
        m: margin.
    """

    def __init__(self, hidden_dim: int, speaker_num: int, s: float = 30.0, m: float = 0.4):
        super().__init__()
        self.W = nn.Parameter(nn.init.xavier_normal_(torch.empty(hidden_dim, speaker_num)))
        self.s, self.m = s, m

    def forward(self, vectors: Tensor, speakers: Tensor) -> Tensor:
        cosines = F.normalize(vectors.float(), dim=1) @ F.normalize(self.W.float(), dim=0)
        margins = F.one_hot(speakers, cosines.size(1)) * self.m
        return F.cross_entropy(self.s * (cosines - margins), speakers)


class AAMSoftmaxLoss(nn.Module):
    """As :class:`AMSoftmaxLoss`, with the margin added to the angle (Deng et al. 2019, additive angular margin).

    Args:
        hidden_dim: width of the vectors.
        speaker_num: classes.
        s: scale.
        m: margin in radians.
        easy_margin: leave angles above 90 degrees alone; otherwise the margin is subtracted from the cosine where the sum would exceed 180.
    """

    def __init__(self, hidden_dim: int, speaker_num: int, s: float = 15.0, m: float = 0.3, easy_margin: bool = False):
        super().__init__()
        self.weight = nn.Parameter(nn.init.xavier_normal_(torch.empty(speaker_num, hidden_dim)))
        self.s, self.m, self.easy_margin = s, m, easy_margin

    def forward(self, vectors: Tensor, speakers: Tensor) -> Tensor:
        cosines = F.linear(F.normalize(vectors.float()), F.normalize(self.weight.float()))
        true = cosines.gather(1, speakers.unsqueeze(1))
        sines = (1 - true.square()).clamp(0, 1)
        sines = torch.where(sines > 0, torch.where(sines > 0, sines, 1.0).sqrt(), 0.0)  # the root's gradient at 0 is infinite
        moved = true * math.cos(self.m) - sines * math.sin(self.m)
        if self.easy_margin:
            moved = torch.where(true > 0, moved, true)
        else:
            moved = torch.where(true > math.cos(math.pi - self.m), moved, true - self.m * math.sin(math.pi - self.m))
        return F.cross_entropy(self.s * cosines.scatter(1, speakers.unsqueeze(1), moved), speakers)


LOSSES: dict[str, type[nn.Module]] = {loss.__name__: loss for loss in (SoftmaxLoss, AMSoftmaxLoss, AAMSoftmaxLoss)}
