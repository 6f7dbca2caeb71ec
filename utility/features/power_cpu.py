"""Windowed power spectra and their bands in blocks of frames that stay in the cache, on a CPU.

Every operation is meant to run in one thread (see ``threads``); bands are summed in groups, each over its own stretch of the spectrum.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import torch
from torch import Tensor

BLOCK = 512
BAND_GROUP = 16
MOST_SPACES = 64


class Space:
    """Views of a thread's working memory for blocks of ``count`` frames; made once, since each view costs as much as a small operation.

    Attributes:
        padded: (count, fft_size), zero beyond the window.
        frames, first, rest: all window samples of it, the first one, the others.
        power: (count, bins); ``power_array`` is the same memory for NumPy.
        bands: (count, num_mel_bins).
        products: spectrum stretch, weights and result of each group of bands.
    """

    def __init__(self, memory: tuple[Tensor, Tensor, Tensor], count: int, window_size: int, groups: list[tuple[slice, slice, Tensor]]):
        self.padded, self.power, self.bands = (m[:count] for m in memory)
        self.frames = self.padded[:, :window_size]
        self.first, self.rest = self.frames[:, 0], self.frames[:, 1:]
        self.power_array = self.power.numpy()
        self.products = [(self.power[:, bins], weights, self.bands[:, bands]) for bins, bands, weights in groups]


class PowerSpectra:
    """Tables and, for each calling thread, working memory of at most ``BLOCK`` frames.

    Args:
        window_size: samples of a frame.
        fft_size: points of the transform; the frame is zero-padded to it.
        bank: (bins, bands) weights, if bands are wanted.
    """

    def __init__(self, window_size: int, fft_size: int, bank: Tensor | None = None):
        self.window_size, self.fft_size = window_size, fft_size
        self.band_count = 0 if bank is None else bank.size(1)
        self.groups = [] if bank is None else _band_groups(bank)
        self._local = threading.local()

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles go without working memory."""
        return {k: v for k, v in self.__dict__.items() if k != "_local"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _local=threading.local())

    def space(self, count: int) -> Space:
        """The calling thread's memory for so many frames."""
        local, size = self._local, self.fft_size
        if not hasattr(local, "memory"):
            local.memory = torch.zeros(BLOCK, size), torch.empty(BLOCK, size // 2 + 1), torch.empty(BLOCK, self.band_count)
            local.spaces = {}
        if count not in local.spaces:
            if len(local.spaces) >= MOST_SPACES:
                local.spaces.clear()
            local.spaces[count] = Space(local.memory, count, self.window_size, self.groups)
        return local.spaces[count]

    @staticmethod
    def transform(space: Space) -> Tensor:
        """Power spectra (R, bins) of the space's windowed frames. NumPy adds strided rows at twice PyTorch's speed."""
        parts = torch.view_as_real(torch.fft.rfft(space.padded)).flatten(1).numpy()
        np.multiply(parts, parts, out=parts)
        np.add(parts[:, ::2], parts[:, 1::2], out=space.power_array)
        return space.power

    @staticmethod
    def bands(space: Space, spectrum: Tensor | None = None) -> Tensor:
        """Bands (R, bands) of the space's power, or of the given (R, bins) in its place."""
        if spectrum is not None and spectrum is not space.power:
            space.power.copy_(spectrum)
        for part, weights, bands in space.products:
            torch.mm(part, weights, out=bands)
        return space.bands


def _band_groups(bank: Tensor) -> list[tuple[slice, slice, Tensor]]:
    """Neighbouring bands by sixteens (the width that matrix kernels like), each with the stretch of bins that it needs and its weights."""
    groups = []
    for first in range(0, bank.size(1), BAND_GROUP):
        bands = slice(first, min(first + BAND_GROUP, bank.size(1)))
        used = bank[:, bands].sum(1).nonzero().flatten()
        bins = slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 1)
        groups.append((bins, bands, bank[bins, bands].contiguous()))
    return groups
