"""Kaldi's features of one utterance on a CPU, in blocks of frames that stay in the cache.

The steps before the Fourier transform are linear, so they are reordered: pre-emphasis runs once over the waveform and not once per
frame, the window multiplies the overlapping view of it, and the mean of a frame is taken out afterwards as a multiple of the window.
Every operation is meant to run in one thread (see ``threads``).
"""

from __future__ import annotations

import torch
from torch import Tensor

from utility.features.kaldi_batch import assembled, log_energy, mirrored, tables
from utility.features.kaldi_options import LOG_FLOOR, KaldiOptions
from utility.features.power_cpu import BLOCK, PowerSpectra, Space


class CpuKaldi:
    """Computes one kind of feature, one utterance per call; safe to call from several threads.

    Args:
        options: which feature.
    """

    def __init__(self, options: KaldiOptions):
        self.options = options
        self.tables = tables(options, torch.device("cpu"))
        self.spectra = PowerSpectra(options.window_size, options.fft_size, self.tables.get("bank"))
        self.plain_fbank = options.feat_type == "fbank" and options.use_log_fbank and options.use_power and not options.use_energy
        window, rest = self.tables["window"], 1.0 - options.preemphasis_coefficient
        self._first_weight, self._rest_window, self._mean_weight = rest * float(window[0]), window[1:], -rest

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
        o, space = self.options, self.spectra.space(len(raw))
        means = raw.mean(1) if o.remove_dc_offset else None
        energy = self._energy(raw, means) if o.needs_energy and o.raw_energy else None
        self._window(raw, smooth, means, space)
        if o.needs_energy and not o.raw_energy:
            energy = log_energy(space.frames, o)
        self.spectra.transform(space)
        if self.plain_fbank:
            torch.clamp(self.spectra.bands(space), min=LOG_FLOOR, out=out).log_()
        else:
            out.copy_(assembled(space.power, energy, o, self.tables, lambda power: self.spectra.bands(space, power)))

    def _window(self, raw: Tensor, smooth: Tensor, means: Tensor | None, space: Space) -> None:
        """Writes the frames after DC removal, pre-emphasis and window into the space."""
        torch.mul(smooth, self._rest_window, out=space.rest)
        if self._first_weight:  # elsewhere the first column stays the zeros that it began with
            torch.mul(raw[:, 0], self._first_weight, out=space.first)
        if means is not None:
            space.frames.addr_(means, self.tables["window"], alpha=self._mean_weight)

    def _energy(self, raw: Tensor, means: Tensor | None) -> Tensor:
        return log_energy(raw if means is None else raw - means[:, None], self.options)
