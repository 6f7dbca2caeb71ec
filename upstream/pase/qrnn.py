"""A quasi-recurrent layer (Bradbury et al. 2016, arXiv 1611.01576) in plain PyTorch, without a loop over all frames."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def leaky_sum(gain: Tensor, keep: Tensor) -> Tensor:
    """c_t = gain_t + keep_t c_{t-1} with c_{-1} = 0.

    The frames are cut into about sqrt(T) pieces that run side by side from zero; what each piece inherits follows from the ends of the
    pieces before it. That takes some 3 sqrt(T) steps instead of T and, unlike a closed form, divides by nothing.

    Args:
        gain, keep: (B, T, D), ``keep`` in [0, 1].
    """
    batch, frames, width = gain.shape
    size = max(math.isqrt(frames), 1)
    count = -(-frames // size)
    missing = (0, 0, 0, count * size - frames)
    gains = F.pad(gain, missing).view(batch, count, size, width).unbind(2)
    keeps = F.pad(keep, missing).view(batch, count, size, width).unbind(2)
    sums, kept = [gains[0]], [keeps[0]]
    for one, rest in zip(gains[1:], keeps[1:], strict=True):
        sums.append(torch.addcmul(one, rest, sums[-1]))
        kept.append(rest * kept[-1])
    inherited = [torch.zeros_like(gain[:, 0])]
    for end, through in zip(sums[-1].unbind(1)[:-1], kept[-1].unbind(1)[:-1], strict=True):
        inherited.append(torch.addcmul(end, through, inherited[-1]))
    carry = torch.stack(inherited, 1)[:, :, None]
    whole = torch.addcmul(torch.stack(sums, 2), torch.stack(kept, 2), carry)
    return whole.view(batch, count * size, width)[:, :frames]


class QrnnLayer(nn.Module):
    """One layer with a window of two frames and an output gate, in the direction of time.

    Args:
        inputs, width: of the frames that go in and come out.
    """

    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.linear = nn.Linear(2 * inputs, 3 * width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, inputs) to (B, T, width)."""
        before = F.pad(x, (0, 0, 1, 0))[:, :-1]
        candidate, forget, output = self.linear(torch.cat([x, before], 2)).chunk(3, 2)
        forget = forget.sigmoid()
        return output.sigmoid() * leaky_sum(forget * candidate.tanh(), 1 - forget)


class Qrnn(nn.Module):
    """Layers of :class:`QrnnLayer` with dropout between them."""

    def __init__(self, inputs: int, width: int, layers: int, dropout: float):
        super().__init__()
        self.layers = nn.ModuleList(QrnnLayer(width if index else inputs, width) for index in range(layers))
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, inputs) to (B, T, width)."""
        for index, layer in enumerate(self.layers):
            x = layer(F.dropout(x, self.dropout, self.training and index > 0))
        return x
