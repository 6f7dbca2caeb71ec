"""Mel spectrograms as vocoders hear them: magnitudes on Slaney's mel scale, their natural logarithm cut at 1e-5."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from utility.errors import ConfigError, DataError
from utility.training.fields import Count, NotNegative

from .diffwave_parts import N_MELS
from .precision import in_full

FLOOR = 1e-5


@dataclass(frozen=True)
class Mel:
    """
    Args:
        filter_length: samples of a Fourier transform.
        hop_length: samples from frame to frame.
        win_length: samples of the Hann window.
        mel_fmin, mel_fmax: the bands' lowest and highest frequency in Hz.
        sample_rate: in Hz.

    Raises:
        ConfigError: the window is longer than the transform, or there are no frequencies between the limits.
    """

    filter_length: Count = 1024
    hop_length: Count = 256
    win_length: Count = 1024
    mel_fmin: NotNegative = 0.0
    mel_fmax: NotNegative = 8000.0
    sample_rate: Count = 22050

    def __post_init__(self) -> None:
        faults, highest = [], min(self.mel_fmax, self.sample_rate / 2)
        if self.win_length > self.filter_length:
            faults.append(f"win_length must be at most filter_length, {self.filter_length}, not {self.win_length}")
        if self.mel_fmin >= highest:
            faults.append(f"mel_fmin must be below mel_fmax and half of sample_rate, {highest:g}, not {self.mel_fmin:g}")
        if faults:
            raise ConfigError(faults)

    @cached_property
    def bands(self) -> Tensor:
        """(80, bins)."""
        from librosa.filters import mel  # a second of imports that only vocoders need

        weights = mel(
            sr=self.sample_rate, n_fft=self.filter_length, n_mels=N_MELS, fmin=self.mel_fmin, fmax=min(self.mel_fmax, self.sample_rate / 2)
        )
        return torch.from_numpy(weights)

    def __call__(self, wavs: Tensor) -> Tensor:
        """(B, L) -> (B, 80, L // hop_length + 1).

        Raises:
            DataError: the waveforms are shorter than half a transform, which is mirrored at their ends.
        """
        if wavs.size(1) <= self.filter_length // 2:
            raise DataError(f"more than {self.filter_length // 2} samples are needed for a mel spectrogram")
        sizes, window = (self.filter_length, self.hop_length, self.win_length), torch.hann_window(self.win_length, device=wavs.device)
        with in_full(wavs) as wide:
            spectrum = torch.stft(wide, *sizes, window, pad_mode="reflect", return_complex=True)
            return (self.bands.to(wide.device) @ spectrum.abs()).clamp(min=FLOOR).log()
