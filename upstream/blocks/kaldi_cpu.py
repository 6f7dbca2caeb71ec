"""Kaldi's features of one utterance on a CPU, in blocks of frames that stay in the cache.

The steps before the Fourier transform are linear, so they are reordered: pre-emphasis runs once over the waveform and not once per
frame, the window multiplies the overlapping view of it, and the mean of a frame is taken out afterwards as a multiple of the window. Mel
bands are summed in groups, each over its own stretch of the spectrum. Every operation is meant to run in one thread (see ``threads``).
"""

from __future__ import annotations

import threading

import numpy as np
import torch
from torch import Tensor

from upstream.blocks.deltas_cmvn import EPS
from upstream.blocks.kaldi_batch import assembled, log_energy, mirrored, tables
from upstream.blocks.kaldi_options import LOG_FLOOR, KaldiOptions

BLOCK = 512
BAND_GROUP = 16
MOST_SPACES = 64


class _Space:
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


class CpuKaldi:
    """Computes one kind of feature, one utterance per call; safe to call from several threads.

    Args:
        options: which feature.
    """

    def __init__(self, options: KaldiOptions):
        self.options = options
        self.tables = tables(options, torch.device("cpu"))
        self.groups = _band_groups(self.tables["bank"]) if "bank" in self.tables else []
        self.plain_fbank = options.feat_type == "fbank" and options.use_log_fbank and options.use_power and not options.use_energy
        window, rest = self.tables["window"], 1.0 - options.preemphasis_coefficient
        self._first_weight, self._rest_window, self._mean_weight = rest * float(window[0]), window[1:], -rest
        self._local = threading.local()

    def __call__(self, wav: Tensor, out: Tensor) -> None:
        """Writes the features of a checked 1-D float32 waveform into ``out`` (T, D); rows may be strided."""
        o = self.options
        wav = wav.contiguous() if o.snip_edges else mirrored(wav, o)
        emphasised = torch.sub(wav[1:], wav[:-1], alpha=o.preemphasis_coefficient)
        raw, smooth = (x.as_strided((len(out), w), (o.window_shift, 1)) for x, w in ((wav, o.window_size), (emphasised, o.window_size - 1)))
        for block in zip(raw.split(BLOCK), smooth.split(BLOCK), out.split(BLOCK), strict=True):
            self._block(*block)
        if o.subtract_mean:
            out.sub_(out.mean(0))

    def _block(self, raw: Tensor, smooth: Tensor, out: Tensor) -> None:
        """Features of a block from the frames of the waveform (R, window) and of the pre-emphasised one (R, window - 1)."""
        o, space = self.options, self._space(len(raw))
        means = raw.mean(1) if o.remove_dc_offset else None
        energy = self._energy(raw, means) if o.needs_energy and o.raw_energy else None
        self._window(raw, smooth, means, space)
        if o.needs_energy and not o.raw_energy:
            energy = log_energy(space.frames, o)
        _power(torch.fft.rfft(space.padded), space.power_array)
        if self.plain_fbank:
            torch.clamp(self._bands(space), min=LOG_FLOOR, out=out).log_()
        else:
            out.copy_(assembled(space.power, energy, o, self.tables, lambda power: self._bands(space, power)))

    def _window(self, raw: Tensor, smooth: Tensor, means: Tensor | None, space: _Space) -> None:
        """Writes the frames after DC removal, pre-emphasis and window into the space."""
        torch.mul(smooth, self._rest_window, out=space.rest)
        torch.mul(raw[:, 0], self._first_weight, out=space.first)
        if means is not None:
            space.frames.addr_(means, self.tables["window"], alpha=self._mean_weight)

    def _bands(self, space: _Space, spectrum: Tensor | None = None) -> Tensor:
        """Mel energies (R, bands) of the space's power, or of the given (R, bins) in its place."""
        if spectrum is not None and spectrum is not space.power:
            space.power.copy_(spectrum)
        for part, weights, bands in space.products:
            torch.mm(part, weights, out=bands)
        return space.bands

    def _energy(self, raw: Tensor, means: Tensor | None) -> Tensor:
        return log_energy(raw if means is None else raw - means[:, None], self.options)

    def _space(self, count: int) -> _Space:
        """Working memory of the calling thread for so many frames."""
        local, size = self._local, self.options.fft_size
        if not hasattr(local, "memory"):
            local.memory = torch.zeros(BLOCK, size), torch.empty(BLOCK, size // 2 + 1), torch.empty(BLOCK, self.options.num_mel_bins)
            local.spaces = {}
        if count not in local.spaces:
            if len(local.spaces) >= MOST_SPACES:
                local.spaces.clear()
            local.spaces[count] = _Space(local.memory, count, self.options.window_size, self.groups)
        return local.spaces[count]


def _power(spectrum: Tensor, out: np.ndarray) -> None:
    """re^2 + im^2 of (R, bins) into ``out``; overwrites the spectrum. NumPy adds strided rows at twice PyTorch's speed."""
    parts = torch.view_as_real(spectrum).flatten(1).numpy()
    np.multiply(parts, parts, out=parts)
    np.add(parts[:, ::2], parts[:, 1::2], out=out)


def _band_groups(bank: Tensor) -> list[tuple[slice, slice, Tensor]]:
    """Neighbouring bands by sixteens (the width that matrix kernels like), each with the stretch of bins that it needs and its weights."""
    groups = []
    for first in range(0, bank.size(1), BAND_GROUP):
        bands = slice(first, min(first + BAND_GROUP, bank.size(1)))
        used = bank[:, bands].sum(1).nonzero().flatten()
        bins = slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 1)
        groups.append((bins, bands, bank[bins, bands].contiguous()))
    return groups


def fill_deltas(rows: Tensor, width: int, order: int, win_length: int) -> None:
    """Fills columns ``width`` ... of ``rows`` (T, width (order + 1)) with the deltas of the columns before; see ``add_deltas``."""
    if order == 0:
        return
    frames, reach = len(rows), (win_length - 1) // 2
    padded = rows.new_empty(frames + 2 * reach, width)
    scale = 3.0 / (reach * (reach + 1) * (2 * reach + 1))
    for k in range(order):
        source, target = rows[:, k * width : (k + 1) * width], rows[:, (k + 1) * width : (k + 2) * width]
        torch.mul(source, scale, out=padded[reach : reach + frames])
        padded[:reach], padded[reach + frames :] = padded[reach], padded[reach + frames - 1]
        torch.sub(padded[reach + 1 :][:frames], padded[reach - 1 :][:frames], out=target)
        for n in range(2, reach + 1):
            target.add_(padded[reach + n :][:frames], alpha=n).sub_(padded[reach - n :][:frames], alpha=n)


def normalise(rows: Tensor) -> None:
    """CMVN of (T, D) in place; see ``cmvn``."""
    blocks = rows.split(BLOCK)
    mean = sum(block.sum(0) for block in blocks).div_(len(rows))
    squares = sum(_squares(block.sub_(mean)) for block in blocks)
    scale = squares.div_(max(1, len(rows) - 1)).sqrt_().add_(EPS).reciprocal_()
    for block in blocks:
        block.mul_(scale)


def _squares(block: Tensor) -> Tensor:
    """Sum of squares over the rows."""
    return (block * block).sum(0)
