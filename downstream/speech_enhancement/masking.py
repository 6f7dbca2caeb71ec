"""Waveforms through a mask: spectrum, magnitude, mask times spectrum, waveform; the noisy phase is kept."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from utility.audio.stft import Stft

Mask = Callable[[np.ndarray], np.ndarray]


def mask_of(model: nn.Module, device: str | torch.device = "cpu") -> Mask:
    """A torch network as a function of arrays, (B, F, T) -> (B, F, T), without gradients."""

    def mask(magnitudes: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(magnitudes).to(device)).cpu().numpy()

    return mask


def magnitudes_of(spectrum: Tensor, power: float) -> np.ndarray:
    """(..., F, T) complex -> what networks read, (1, F, T) for a spectrum (F, T)."""
    magnitude = spectrum.abs()
    magnitude = magnitude if power == 1 else magnitude**power
    return magnitude.reshape(-1, *spectrum.shape[-2:]).numpy()


def enhance(wave: Tensor, stft: Stft, mask: Mask, frames: int | None = None) -> np.ndarray:
    """(N,) noisy waveform -> (M,) enhanced one; M is hop_length (T - 1), at most hop_length - 1 samples fewer than N.

    Args:
        wave: on the CPU.
        stft: the transform.
        mask: (B, F, T) magnitudes -> mask.
        frames: take only so many frames, zeros beyond the last one (``fixed_sequence_length``); all by default.
    """
    spectrum = stft.spectrum(wave)
    if frames is not None:
        spectrum = torch.nn.functional.pad(spectrum[:, :frames], (0, max(0, frames - spectrum.shape[-1])))
    masked = spectrum * torch.from_numpy(mask(magnitudes_of(spectrum, stft.options.power)))[0]
    enhanced = stft.waves(masked)
    if stft.options.peak_normalize:  # the network heard it at full scale, the listener does not
        enhanced = enhanced * wave.abs().max()
    return enhanced.numpy()
