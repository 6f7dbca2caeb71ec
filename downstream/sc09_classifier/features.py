"""Log Mel spectrograms of a second of speech, as the public SC09 classifier has them (specs/audio-generation.md, 7)."""

from __future__ import annotations

import librosa
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from utility.audio.stft import Stft, StftOptions

SAMPLE_RATE, SAMPLES = 16000, 16000
N_FFT, HOP, BANDS, FRAMES = 2048, 512, 32, 32
PAD_MODES = ("constant", "reflect")
_LEAST, _RANGE = 1e-10, 80.0


def one_second(wave: Tensor) -> Tensor:
    """(N,) -> (16000,): the beginning, or zeros behind."""
    return F.pad(wave[:SAMPLES], (0, max(0, SAMPLES - len(wave))))


class LogMel(nn.Module):
    """Waveforms of a second to (32 bands, 32 frames) in dB below the loudest; has no parameters.

    Slaney's Mel scale and area normalisation from 0 to 8 kHz on squared magnitudes, as ``librosa.feature.melspectrogram``.

    Args:
        pad_mode: what stands beyond both ends: ``constant`` (zeros, librosa since 0.10) or ``reflect`` (before, and in the published
            caches and figures).
    """

    def __init__(self, pad_mode: str = "constant"):
        super().__init__()
        self.pad_mode = pad_mode
        self.stft = Stft(StftOptions(SAMPLE_RATE, N_FFT, HOP, N_FFT, center=False, power=2))
        bank = librosa.filters.mel(sr=SAMPLE_RATE, n_fft=N_FFT, n_mels=BANDS)
        self.register_buffer("bank", torch.from_numpy(bank), persistent=False)

    def spectrum(self, waves: Tensor) -> Tensor:
        """(B, 16000) -> (B, 1025, 32) complex."""
        return self.stft.spectrum(F.pad(waves, (N_FFT // 2, N_FFT // 2), mode=self.pad_mode))

    def of_spectrum(self, spectrum: Tensor) -> Tensor:
        """(B, 1025, 32) complex -> (B, 32, 32) in dB, from -80 to 0."""
        power = self.bank @ (spectrum.real.square() + spectrum.imag.square())
        loudest = power.amax(dim=(-2, -1), keepdim=True).clamp_min(_LEAST)
        decibels = 10 * (power.clamp_min(_LEAST) / loudest).log10()
        return decibels.clamp_min(-_RANGE)

    def forward(self, waves: Tensor) -> Tensor:
        """(B, 16000) -> (B, 32, 32)."""
        return self.of_spectrum(self.spectrum(waves))
