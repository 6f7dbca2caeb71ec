"""Kaldi's fbank, mfcc and spectrogram, with deltas and CMVN: quick on CPUs, batched on GPUs.

On a CPU each utterance is computed alone, so that its features are bit-identical alone, in any batch and with any number of threads.
On other devices, and for waveforms that require a gradient, the padded batch is computed at once with tensor operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from utility.features.deltas_cmvn import add_deltas, cmvn, zero_padding
from utility.features.deltas_cmvn_cpu import fill_deltas, normalise
from utility.features.kaldi_batch import BatchKaldi
from utility.features.kaldi_cpu import CpuKaldi
from utility.features.kaldi_options import KaldiOptions
from utility.features.threads import in_threads
from utility.features.waves import check_waves


class KaldiFeatures:
    """A pipeline: Kaldi feature, deltas, CMVN.

    Args:
        options: which feature.
        delta_order: 0 for none.
        delta_window: frames that a delta spans, odd.
        use_cmvn: normalise mean and variance of each utterance.

    Attributes:
        dim: width of the features.
        rate: samples per frame.
    """

    def __init__(self, options: KaldiOptions, delta_order: int = 0, delta_window: int = 5, use_cmvn: bool = False):
        self.options, self.delta_order, self.delta_window, self.use_cmvn = options, delta_order, delta_window, use_cmvn
        self.dim = options.dim * (delta_order + 1)
        self.rate = options.window_shift
        self._batch, self._cpu = BatchKaldi(options), CpuKaldi(options)

    def __call__(self, wavs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """
        Args:
            wavs: 1-D floating-point waveforms in [-1, 1] on one device.

        Returns:
            (B, T, D) float32 features, zero-padded, and the frame counts (B,), both on that device.

        Raises:
            DataError: an item is too short, not finite or no waveform.
        """
        wavs = check_waves(wavs, self.options.least_samples)
        if wavs[0].is_cpu and not (torch.is_grad_enabled() and any(wav.requires_grad for wav in wavs)):
            return self._by_utterance(wavs)
        with torch.autocast(wavs[0].device.type, enabled=False):
            return self._at_once(wavs)

    def _at_once(self, wavs: list[Tensor]) -> tuple[Tensor, Tensor]:
        features, lengths = self._batch(wavs)
        features = add_deltas(features, self.delta_order, self.delta_window, lengths)
        return cmvn(features, lengths) if self.use_cmvn else zero_padding(features, lengths), lengths

    def _by_utterance(self, wavs: list[Tensor]) -> tuple[Tensor, Tensor]:
        frames = [self.options.frames(len(wav)) for wav in wavs]
        with torch.inference_mode(False), torch.autocast("cpu", enabled=False):
            out = torch.empty(len(wavs), max(frames), self.dim)
            in_threads(self._fill, [(wav.detach(), rows, n) for wav, rows, n in zip(wavs, out, frames, strict=True)])
        return out, torch.tensor(frames)

    def _fill(self, item: tuple[Tensor, Tensor, int]) -> None:
        """Computes one utterance into the first of its rows (T, dim) of the batch."""
        wav, padded, frames = item
        rows, padded[frames:] = padded[:frames], 0.0
        self._cpu(wav, rows[:, : self.options.dim])
        fill_deltas(rows, self.options.dim, self.delta_order, self.delta_window)
        if self.use_cmvn:
            normalise(rows)


def fbank(wavs: Sequence[Tensor], **options: Any) -> list[Tensor]:
    """Log mel filterbank energies, one (T_i, D) per waveform; options as in :class:`KaldiOptions`."""
    return _listed("fbank", wavs, options)


def mfcc(wavs: Sequence[Tensor], **options: Any) -> list[Tensor]:
    """Mel-frequency cepstral coefficients, one (T_i, D) per waveform; options as in :class:`KaldiOptions`."""
    return _listed("mfcc", wavs, options)


def spectrogram(wavs: Sequence[Tensor], **options: Any) -> list[Tensor]:
    """Log power spectra with the log energy in place of bin 0, one (T_i, D) per waveform; options as in :class:`KaldiOptions`."""
    return _listed("spectrogram", wavs, options)


def _listed(feat_type: str, wavs: Sequence[Tensor], options: dict[str, Any]) -> list[Tensor]:
    padded, lengths = KaldiFeatures(KaldiOptions.of(feat_type, options, f"{feat_type} options"))(wavs)
    return [rows[:n] for rows, n in zip(padded, lengths.tolist(), strict=True)]
