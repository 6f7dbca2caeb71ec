"""The short-time Fourier transform of speech enhancement and its inverse: zeros beyond both ends, no scaling, noisy phase kept.

Figures as in librosa's ``stft`` with ``pad_mode="constant"``: windows are periodic and centred in ``n_fft``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.signal
import torch
from torch import Tensor, nn

from utility.errors import ConfigError

_SILENT = 1e-11  # sums of squared windows up to here are nothing to divide by, for torch


@dataclass(frozen=True)
class StftOptions:
    """The transform; lengths in samples.

    Args:
        sample_rate: of the waveforms, in Hz.
        n_fft: gives n_fft // 2 + 1 bins.
        hop_length: samples from frame to frame.
        win_length: n_fft at most.
        window: a name, or a tuple of name and parameters, of ``scipy.signal.get_window``.
        center: frame t is centred on sample t hop_length; otherwise it begins there.
        power: exponent of :meth:`Stft.magnitude`.
        peak_normalize: waveforms are divided by their largest absolute sample first.

    Raises:
        ConfigError: impossible values, all at once.
    """

    sample_rate: int = 16000
    n_fft: int = 512
    hop_length: int = 160
    win_length: int = 400
    window: str | tuple = "hann"
    center: bool = True
    power: float = 1
    peak_normalize: bool = False

    def __post_init__(self) -> None:
        sizes = {name: getattr(self, name) for name in ("sample_rate", "n_fft", "hop_length", "win_length")}
        faults = [
            f"{name} must be a positive whole number, not {size!r}" for name, size in sizes.items() if type(size) is not int or size < 1
        ]
        if not faults and self.win_length > self.n_fft:
            faults.append(f"win_length {self.win_length} exceeds n_fft {self.n_fft}")
        if type(self.power) not in (int, float) or not self.power > 0:
            faults.append(f"power must be a positive number, not {self.power!r}")
        try:
            scipy.signal.get_window(self.window, 4)
        except (ValueError, TypeError):
            faults.append(f"window {self.window!r} is none of scipy.signal.get_window, such as hann or hamming")
        if faults:
            raise ConfigError(faults, "preprocessing")

    @property
    def bins(self) -> int:
        """F, the number of frequencies."""
        return self.n_fft // 2 + 1

    @property
    def least_samples(self) -> int:
        """The fewest samples that give a frame with something in it."""
        return 1 if self.center else self.n_fft

    @property
    def has_inverse(self) -> bool:
        """Whether spectra lead back to waveforms: frames are centred, and their windows reach every sample."""
        reached = np.zeros(self.hop_length)
        window = scipy.signal.get_window(self.window, self.win_length, fftbins=True)
        np.add.at(reached, np.arange(self.win_length) % self.hop_length, np.square(window))
        return self.center and bool(reached.min() > _SILENT)

    def frames(self, samples: int) -> int:
        """T, the number of frames of so many samples."""
        return 1 + (samples if self.center else samples - self.n_fft) // self.hop_length


class Stft(nn.Module):
    """Waveforms to spectra and back; has no parameters."""

    def __init__(self, options: StftOptions):
        super().__init__()
        self.options = options
        window = torch.from_numpy(scipy.signal.get_window(options.window, options.win_length, fftbins=True)).float()
        self.register_buffer("window", window, persistent=False)

    def spectrum(self, waves: Tensor) -> Tensor:
        """(..., N) waveforms -> (..., F, T) complex."""
        o = self.options
        if o.peak_normalize:
            waves = waves / waves.abs().amax(-1, keepdim=True).clamp_min(torch.finfo(waves.dtype).tiny)
        flat = waves.reshape(-1, waves.size(-1))
        spectrum = torch.stft(flat, o.n_fft, o.hop_length, o.win_length, self.window.to(waves), o.center, "constant", return_complex=True)
        return spectrum.reshape(*waves.shape[:-1], *spectrum.shape[-2:])

    def magnitude(self, waves: Tensor) -> Tensor:
        """(..., N) waveforms -> (..., F, T), the absolute spectrum to the power of the options."""
        magnitude = self.spectrum(waves).abs()
        return magnitude if self.options.power == 1 else magnitude**self.options.power

    def waves(self, spectrum: Tensor, length: int | None = None) -> Tensor:
        """(..., F, T) complex -> (..., N); N is hop_length (T - 1) without a length (centred).

        The window of the analysis is that of the synthesis (the public code always takes Hann here, which is wrong for all others).
        """
        o = self.options
        flat = spectrum.reshape(-1, *spectrum.shape[-2:])
        window = self.window.to(flat.real)
        waves = torch.istft(flat, o.n_fft, o.hop_length, o.win_length, window, o.center, length=length)
        return waves.reshape(*spectrum.shape[:-2], waves.size(-1))
