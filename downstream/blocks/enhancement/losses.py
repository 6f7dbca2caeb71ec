"""Losses of speech enhancement: on spectra, on waveforms, on compressed spectra and on spectra of several resolutions.

Spec: speech-enhancement.md A6.2 (``spec_mse``, ``wave_*``); Braun and Tashev 2021 (``spec_compressed``); Yamamoto et al. 2020
(``wave_mrstft``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from downstream.blocks.enhancement.batching import mask_of
from utility.errors import ConfigError, UnknownNameError

EPSILON = 1e-8  # energies: a silent part of a recording costs nothing, and a perfect estimate has a finite ratio
COMPRESSION, COMPLEX_SHARE = 0.3, 0.3
RESOLUTIONS = ((512, 50, 240), (1024, 120, 600), (2048, 240, 1200))  # n_fft, hop, window: samples
FLOOR = 1e-7  # of powers, below 16-bit noise


@dataclass(frozen=True)
class Enhanced:
    """A batch of estimates beside what they should be; at padding, if there is any, estimates and targets are 0.

    Args:
        spectrum, clean_spectrum: (B, F, T) complex.
        wave, clean_wave: (B, N).
        frames, samples: (B,) what of T and N is no padding; None: all of it counts.
    """

    spectrum: Tensor
    clean_spectrum: Tensor
    wave: Tensor
    clean_wave: Tensor
    frames: Tensor | None = None
    samples: Tensor | None = None


def snr_loss(estimate: Tensor, target: Tensor, epsilon: float = EPSILON) -> Tensor:
    """(B, N) waveforms -> (B,) negative signal-to-noise ratio in dB."""
    return _negative_db(target, estimate - target, epsilon)


def si_snr_loss(estimate: Tensor, target: Tensor, epsilon: float = EPSILON) -> Tensor:
    """(B, N) waveforms -> (B,) negative scale-invariant signal-to-noise ratio in dB, without removal of the mean."""
    scale = (estimate * target).sum(-1, keepdim=True) / (target.square().sum(-1, keepdim=True) + epsilon)
    return _negative_db(scale * target, estimate - scale * target, epsilon)


def _negative_db(signal: Tensor, noise: Tensor, epsilon: float) -> Tensor:
    return -10 * torch.log10((signal.square().sum(-1) + epsilon) / (noise.square().sum(-1) + epsilon))


def spec_mse(batch: Enhanced) -> Tensor:
    """Mean squared error of the real parts plus that of the imaginary parts."""
    return _mean(_squared(batch.spectrum - batch.clean_spectrum), batch.frames)


def spec_compressed(batch: Enhanced) -> Tensor:
    """Squared errors of magnitudes to the power of 0.3 (70 %) and of spectra with such magnitudes (30 %)."""
    (magnitude, spectrum), (clean_magnitude, clean) = (_compressed(s) for s in (batch.spectrum, batch.clean_spectrum))
    errors = (1 - COMPLEX_SHARE) * (magnitude - clean_magnitude).square() + COMPLEX_SHARE * _squared(spectrum - clean)
    return _mean(errors, batch.frames)


def _compressed(spectrum: Tensor) -> tuple[Tensor, Tensor]:
    magnitude = (_squared(spectrum) + EPSILON).pow(COMPRESSION / 2)
    return magnitude, spectrum * (_squared(spectrum) + EPSILON).pow((COMPRESSION - 1) / 2)


def wave_mse(batch: Enhanced) -> Tensor:
    """Mean squared error of samples."""
    return _mean((batch.wave - batch.clean_wave).square(), batch.samples)


def wave_snr(batch: Enhanced) -> Tensor:
    """:func:`snr_loss`, averaged over the batch."""
    return snr_loss(*_heard(batch)).mean()


def wave_sisnr(batch: Enhanced) -> Tensor:
    """:func:`si_snr_loss`, averaged over the batch."""
    return si_snr_loss(*_heard(batch)).mean()


def wave_mrstft(batch: Enhanced) -> Tensor:
    """Spectral convergence plus the mean difference of log magnitudes, averaged over three resolutions."""
    estimate, clean = _heard(batch)
    return torch.stack([_resolution(estimate, clean, batch.samples, *sizes) for sizes in RESOLUTIONS]).mean()


def _resolution(estimate: Tensor, clean: Tensor, samples: Tensor | None, n_fft: int, hop: int, window: int) -> Tensor:
    hann = torch.hann_window(window, device=clean.device)
    spectra = (torch.stft(w, n_fft, hop, window, hann, pad_mode="constant", return_complex=True) for w in (estimate, clean))
    found, wanted = ((_squared(spectrum) + FLOOR).sqrt() for spectrum in spectra)
    convergence = ((wanted - found).square().sum((-2, -1)) / wanted.square().sum((-2, -1)) + EPSILON).sqrt()
    frames = None if samples is None else 1 + samples // hop
    return convergence.mean() + _mean((wanted.log() - found.log()).abs(), frames)


LOSSES: dict[str, Callable[[Enhanced], Tensor]] = {
    "spec_mse": spec_mse,
    "spec_compressed": spec_compressed,
    "wave_mse": wave_mse,
    "wave_snr": wave_snr,
    "wave_sisnr": wave_sisnr,
    "wave_mrstft": wave_mrstft,
}


def build_loss(chosen: str | Mapping[str, float], source: str = "training.loss") -> Callable[[Enhanced], Tensor]:
    """The loss of a name, or the weighted sum of several: ``{"spec_compressed": 1, "wave_sisnr": 0.01}``.

    Raises:
        ConfigError: a weight is no number above 0, or nothing is named.
        UnknownNameError: there is no such loss.
    """
    weights = {chosen: 1.0} if isinstance(chosen, str) else chosen
    if not isinstance(weights, Mapping) or not weights:
        raise ConfigError(f"loss must be a name or a section of names and weights, not {chosen!r}", source)
    for name, weight in weights.items():
        if name not in LOSSES:
            raise UnknownNameError(source, str(name), LOSSES)
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not weight > 0:
            raise ConfigError(f"the weight of {name} must be a number above 0, not {weight!r}", source)
    return LOSSES[chosen] if isinstance(chosen, str) else partial(_weighted, dict(weights))


def _weighted(weights: Mapping[str, Any], batch: Enhanced) -> Tensor:
    return torch.stack([weight * LOSSES[name](batch) for name, weight in weights.items()]).sum()


def _squared(spectrum: Tensor) -> Tensor:
    """|X|^2 without the square root, whose gradient is none at 0."""
    return spectrum.real.square() + spectrum.imag.square()


def _mean(values: Tensor, lengths: Tensor | None) -> Tensor:
    """The mean over (B, ..., T), or over the first ``lengths`` places of the last axis."""
    if lengths is None:
        return values.mean()
    mask = mask_of(lengths.to(values.device), values.size(-1))
    rows = values.flatten(1, -2).mean(1) if values.dim() > 2 else values
    return (rows * mask).sum() / mask.sum()


def _heard(batch: Enhanced) -> tuple[Tensor, Tensor]:
    """(estimate, target) with silence instead of padding."""
    if batch.samples is None:
        return batch.wave, batch.clean_wave
    mask = mask_of(batch.samples.to(batch.wave.device), batch.wave.size(-1))
    return batch.wave * mask, batch.clean_wave * mask
