"""From waveforms to what a network makes of them, in batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from downstream.blocks.enhancement.batching import lengths_of, mask_of, padded, trimmed
from downstream.blocks.enhancement.losses import Enhanced
from utility.audio.stft import Stft, StftOptions
from utility.errors import DataError

Network = Callable[[Tensor], Tensor]


class Estimator(nn.Module):
    """Waveform -> spectrum -> magnitude -> network -> mask times spectrum -> waveform; has no parameters.

    With ``peak_normalize`` both recordings of a pair are divided by the peak of the noisy one, so that the target is the speech within the
    input (the public code takes the peak of each), and what is heard in the end has the level of the recording again.

    Args:
        options: the transform.
        trim: batches are cut to their shortest recording, and not padded to the longest.
        published: the loss is averaged over padding too.
    """

    def __init__(self, options: StftOptions, trim: bool = False, published: bool = False):
        super().__init__()
        self.options, self.trim, self.published = options, trim, published
        self.stft = Stft(replace(options, peak_normalize=False))

    def batch(self, network: Network, noisy: Sequence[Tensor], clean: Sequence[Tensor]) -> Enhanced:
        """Estimates beside their targets.

        Args:
            network: (B, F, T) magnitudes -> (B, F, T) mask.
            noisy, clean: lists of (N_i,), equally long in pairs, on the device.
        """
        hop = self.options.hop_length
        samples = lengths_of(noisy).to(noisy[0].device)
        noisy, clean = self._scaled(noisy, clean)
        spectrum, target = (self.stft.spectrum(padded(waves)) for waves in (noisy, clean))
        wave, frames = padded(clean), 1 + samples // hop
        if self.trim:
            shortest = int(frames.min())
            spectrum, target, wave = spectrum[..., :shortest], target[..., :shortest], trimmed(clean)
        else:
            inside = mask_of(frames, spectrum.size(-1)).unsqueeze(1)
            spectrum, target = spectrum * inside, target * inside
        masked = spectrum * network(self._magnitude(spectrum)).float()
        estimate = self.stft.waves(masked)
        counted = (None, None) if self.trim or self.published else (frames, hop * (frames - 1))
        return Enhanced(masked, target, estimate, wave[..., : estimate.size(-1)], *counted)

    @torch.no_grad()
    def enhanced(self, network: Network, noisy: Tensor, frames: int | None = None) -> Tensor:
        """(N,) noisy waveform -> (M,) enhanced one, M being ``hop_length * (T - 1)``; at most ``hop_length - 1`` samples are missing.

        Args:
            network: (1, F, T) magnitudes -> (1, F, T) mask.
            noisy: the waveform.
            frames: T; what is beyond it is cut off, and zeros follow a shorter recording. All frames by default.

        Raises:
            DataError: there is not a hop of samples.
        """
        if noisy.size(-1) < self.options.hop_length:
            raise DataError(f"{noisy.size(-1)} samples are too few: a frame takes {self.options.hop_length}")
        spectrum = self.stft.spectrum(noisy / self._peak(noisy)).unsqueeze(0)
        if frames is not None:
            spectrum = F.pad(spectrum[..., :frames], (0, max(0, frames - spectrum.size(-1))))
        masked = spectrum * network(self._magnitude(spectrum)).float()
        return self.stft.waves(masked).squeeze(0) * self._peak(noisy)

    def _magnitude(self, spectrum: Tensor) -> Tensor:
        magnitude = spectrum.abs()
        return magnitude if self.options.power == 1 else magnitude**self.options.power

    def _scaled(self, noisy: Sequence[Tensor], clean: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        peaks = [self._peak(wave) for wave in noisy]
        return ([wave / peak for wave, peak in zip(side, peaks, strict=True)] for side in (noisy, clean))

    def _peak(self, wave: Tensor) -> Tensor | float:
        return wave.abs().max().clamp_min(torch.finfo(wave.dtype).tiny) if self.options.peak_normalize else 1.0
