"""Learnable band-pass filters (SincNet, Ravanelli and Bengio 2018, arXiv 1808.00158) as PASE has them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MIN_LOW_HZ = 50.0
MIN_BAND_HZ = 50.0
_FIRST_HZ = 30.0


class SincConv(nn.Module):
    """A bank of filters, each a difference of two low passes under a Hamming window, given by its lower edge and its band in Hz.

    Args:
        filters: their number.
        taps: their length, odd.
        sample_rate: in Hz.
    """

    def __init__(self, filters: int, taps: int, sample_rate: int):
        super().__init__()
        self.taps, self.nyquist = taps, sample_rate / 2
        half = taps // 2
        edges = _mel_spaced(_FIRST_HZ, self.nyquist - (MIN_LOW_HZ + MIN_BAND_HZ), filters + 1)
        self.low_hz_ = nn.Parameter(edges[:-1, None].clone())
        self.band_hz_ = nn.Parameter(edges.diff()[:, None].clone())
        position = torch.linspace(0, taps / 2 - 1, half)
        self.register_buffer("window", 0.54 - 0.46 * torch.cos(2 * math.pi * position / taps), persistent=False)
        self.register_buffer("phase", 2 * math.pi * torch.arange(-half, 0.0)[None] / sample_rate, persistent=False)

    def filters(self) -> Tensor:
        """(filters, 1, taps), symmetric, 1 in the middle."""
        low = MIN_LOW_HZ + self.low_hz_.abs()
        high = (low + MIN_BAND_HZ + self.band_hz_.abs()).clamp(MIN_LOW_HZ, self.nyquist)
        band = high - low
        left = (torch.sin(high * self.phase) - torch.sin(low * self.phase)) / (self.phase / 2) * self.window
        return (torch.cat([left, 2 * band, left.flip(1)], 1) / (2 * band))[:, None]

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, L) to (B, filters, L); both ends are mirrored."""
        half = self.taps // 2
        return F.conv1d(F.pad(x, (half, half), mode="reflect"), self.filters())


def _mel_spaced(low_hz: float, high_hz: float, count: int) -> Tensor:
    low, high = (2595 * math.log10(1 + hz / 700) for hz in (low_hz, high_hz))
    return 700 * (10 ** (torch.linspace(low, high, count) / 2595) - 1)
