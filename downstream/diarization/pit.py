"""Loss and frame counts under the order of speakers that fits best (spec: downstream-speaker.md 5.3 and 5.4)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import permutations

import torch
from torch import Tensor
from torch.nn import functional as F

from downstream.blocks.pooling import frame_mask


@cache
def orders(speakers: int) -> tuple[tuple[int, ...], ...]:
    """All orders of the columns of labels."""
    return tuple(permutations(range(speakers)))


def pit_loss(logits: Tensor, labels: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Binary cross entropy, averaged over speakers and true frames, each utterance with the order of speakers that suits it best.

    Args:
        logits: (B, T, S).
        labels: (B, T, S), 0 or 1.
        lengths: (B,) true frames.

    Returns:
        the loss, and the labels in that order (B, T, S).
    """
    speakers = logits.size(-1)
    inside = frame_mask(lengths, logits.size(1)).unsqueeze(-1)
    # cost[b, i, j]: column i of the logits against column j of the labels. log(1 + e^z) - z y, summed over the true frames.
    silence = (F.softplus(logits) * inside).sum(dim=1)
    cost = silence.unsqueeze(-1) - (logits * inside).transpose(1, 2) @ (labels * inside)
    columns = torch.tensor(orders(speakers), device=logits.device)
    totals = cost[:, torch.arange(speakers, device=logits.device), columns].sum(dim=-1)
    least, chosen = totals.min(dim=1)
    ordered = labels.gather(2, columns[chosen].unsqueeze(1).expand(-1, labels.size(1), -1))
    return least.sum() / speakers / lengths.sum(), ordered


@dataclass(frozen=True)
class FrameCounts:
    """What a batch has of each kind of frame; a frame counts once for each speaker.

    Args:
        scored: speakers in the labels.
        missed, false_alarm, confusion: speakers too few, too many, mistaken.
        right: columns that are as in the labels, over the number of columns.
        frames: true frames.
    """

    scored: float
    missed: float
    false_alarm: float
    confusion: float
    right: float
    frames: float

    @property
    def der(self) -> float:
        """Errors per speaker frame; 0 where nobody speaks."""
        return (self.missed + self.false_alarm + self.confusion) / self.scored if self.scored else 0.0

    @property
    def accuracy(self) -> float:
        """Part of the decisions that are right; 0 where nobody speaks, as in S3PRL."""
        return self.right / self.frames if self.scored else 0.0


def count_frames(logits: Tensor, labels: Tensor, lengths: Tensor) -> FrameCounts:
    """Counts of a batch: a speaker speaks where the logit is above 0.

    Args:
        logits: (B, T, S).
        labels: (B, T, S) in the order that the logits have.
        lengths: (B,).
    """
    inside = frame_mask(lengths, logits.size(1))
    said, truth = (logits > 0)[inside], labels[inside] > 0
    found, there = said.sum(dim=-1), truth.sum(dim=-1)
    both = (said & truth).sum(dim=-1)
    counts = (
        there.sum(),
        (there - found).clamp(min=0).sum(),
        (found - there).clamp(min=0).sum(),
        (torch.minimum(found, there) - both).sum(),
        (said == truth).sum() / logits.size(-1),
        lengths.sum(),
    )
    return FrameCounts(*(float(count) for count in counts))
