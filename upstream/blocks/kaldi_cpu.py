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

BLOCK = 256
BAND_GROUP = 16


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
        self._local = threading.local()

    def __call__(self, wav: Tensor, out: Tensor) -> None:
        """Writes the features of a checked 1-D float32 waveform into ``out`` (T, D); rows may be strided."""
        o = self.options
        wav = wav.contiguous() if o.snip_edges else mirrored(wav, o)
        emphasised = torch.sub(wav[1:], wav[:-1], alpha=o.preemphasis_coefficient)
        raw, smooth = (x.as_strided((len(out), w), (o.window_shift, 1)) for x, w in ((wav, o.window_size), (emphasised, o.window_size - 1)))
        for first in range(0, len(out), BLOCK):
            rows = slice(first, first + BLOCK)
            self._block(raw[rows], smooth[rows], out[rows])
        if o.subtract_mean:
            out.sub_(out.mean(0))

    def _block(self, raw: Tensor, smooth: Tensor, out: Tensor) -> None:
        """Features of a block from the frames of the waveform (R, window) and of the pre-emphasised one (R, window - 1)."""
        o = self.options
        frames, power = (buffer[: len(raw)] for buffer in self._buffers())
        means = raw.mean(1) if o.remove_dc_offset else None
        energy = self._energy(raw, means) if o.needs_energy and o.raw_energy else None
        windowed = self._windowed(raw, smooth, means, frames[:, : o.window_size])
        if o.needs_energy and not o.raw_energy:
            energy = log_energy(windowed, o)
        _power(torch.fft.rfft(frames), power)
        if self.plain_fbank:
            torch.clamp(self._bands(power, out), min=LOG_FLOOR, out=out).log_()
        else:
            out.copy_(assembled(power, energy, o, self.tables, self._bands))

    def _windowed(self, raw: Tensor, smooth: Tensor, means: Tensor | None, frames: Tensor) -> Tensor:
        """Windowed frames after DC removal and pre-emphasis, written into ``frames`` (R, window)."""
        window, rest = self.tables["window"], 1.0 - self.options.preemphasis_coefficient
        torch.mul(smooth, window[1:], out=frames[:, 1:])
        torch.mul(raw[:, 0], rest * window[0], out=frames[:, 0])
        return frames if means is None else frames.addr_(means, window, alpha=-rest)

    def _bands(self, power: Tensor, out: Tensor | None = None) -> Tensor:
        """Mel energies (R, bands) of power or magnitude spectra (R, bins)."""
        out = power.new_empty(len(power), self.options.num_mel_bins) if out is None else out
        for bins, bands, weights in self.groups:
            torch.mm(power[:, bins], weights, out=out[:, bands])
        return out

    def _energy(self, raw: Tensor, means: Tensor | None) -> Tensor:
        return log_energy(raw if means is None else raw - means[:, None], self.options)

    def _buffers(self) -> tuple[Tensor, Tensor]:
        """Working memory of the calling thread: zero-padded frames and power spectra of a block."""
        if not hasattr(self._local, "buffers"):
            size = self.options.fft_size
            self._local.buffers = torch.zeros(BLOCK, size), torch.empty(BLOCK, size // 2 + 1)
        return self._local.buffers


def _power(spectrum: Tensor, out: Tensor) -> None:
    """re^2 + im^2 of (R, bins) into ``out``; overwrites the spectrum. NumPy adds strided rows at twice PyTorch's speed."""
    parts = torch.view_as_real(spectrum).flatten(1).numpy()
    np.multiply(parts, parts, out=parts)
    np.add(parts[:, ::2], parts[:, 1::2], out=out.numpy())


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
    frames, reach = len(rows), (win_length - 1) // 2
    padded = rows.new_empty(frames + 2 * reach, width) if order else rows
    scale = 3.0 / (reach * (reach + 1) * (2 * reach + 1))
    for k in range(order):
        source, target = rows[:, k * width : (k + 1) * width], rows[:, (k + 1) * width : (k + 2) * width]
        padded[reach : reach + frames] = source
        padded[:reach], padded[reach + frames :] = source[0], source[-1]
        shifted = [padded[n : n + frames] for n in range(2 * reach + 1)]
        torch.sub(shifted[reach + 1], shifted[reach - 1], out=target)
        for n in range(2, reach + 1):
            target.add_(shifted[reach + n] - shifted[reach - n], alpha=n)
        target.mul_(scale)


def normalise(rows: Tensor) -> None:
    """CMVN of (T, D) in place; see ``cmvn``."""
    rows.sub_(rows.mean(0))
    deviation = (rows * rows).sum(0).div_(max(1, len(rows) - 1)).sqrt_()
    rows.div_(deviation.add_(EPS))
