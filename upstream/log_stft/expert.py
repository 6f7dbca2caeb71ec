"""Magnitude or log-magnitude of a centred STFT, the input of mask-based separation and enhancement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from utility.errors import ConfigError, did_you_mean
from utility.experiment.config import load_config
from utility.features.waves import check_waves, pad_waves

LOG_FLOOR = 1e-8
WINDOWS = {"hann": torch.hann_window, "hamming": torch.hamming_window, "blackman": torch.blackman_window, "ones": torch.ones}
TOP_KEYS = ("feat_type", "spectrogram")


@dataclass(frozen=True)
class StftOptions:
    """The transform.

    Args:
        n_fft, hop_length, win_length: samples, at whatever rate the waveforms have.
        window: one of ``WINDOWS``.
        center: mirror both ends so that frame t is centred on sample t hop_length.
        log: ln(max(magnitude, 1e-8)) in place of the magnitude.
    """

    n_fft: int = 512
    hop_length: int = 320
    win_length: int = 512
    window: str = "hann"
    center: bool = True
    log: bool = False

    @classmethod
    def of(cls, config: Mapping[str, Any], source: str) -> StftOptions:
        """From S3PRL's yaml, ``{feat_type: spectrogram, spectrogram: {...}}``.

        Raises:
            ConfigError: unknown or impossible fields, all at once.
        """
        section, names = config.get("spectrogram") or {}, [f.name for f in fields(cls)]
        faults = [f"unknown field {k}{did_you_mean(str(k), TOP_KEYS)}" for k in config if k not in TOP_KEYS]
        faults += [f"unknown field spectrogram.{k}{did_you_mean(str(k), names)}" for k in section if k not in names]
        if config.get("feat_type", "spectrogram") != "spectrogram":
            faults.append(f"feat_type must be spectrogram, not {config['feat_type']!r}")
        made = cls(**{k: v for k, v in section.items() if k in names})
        faults += made.faults()
        if faults:
            raise ConfigError(faults, source)
        return made

    def faults(self) -> list[str]:
        """What is impossible about the options."""
        sizes = {k: getattr(self, k) for k in ("n_fft", "hop_length", "win_length")}
        faults = [f"{k} must be a positive whole number, not {v!r}" for k, v in sizes.items() if type(v) is not int or v < 1]
        if not faults and self.win_length > self.n_fft:
            faults.append(f"win_length {self.win_length} exceeds n_fft {self.n_fft}")
        if self.window not in WINDOWS:
            faults.append(f"unknown window {self.window!r}{did_you_mean(str(self.window), WINDOWS)}")
        return faults

    @property
    def least_samples(self) -> int:
        """The fewest samples that give a frame."""
        return self.n_fft // 2 + 1 if self.center else self.n_fft


class UpstreamExpert(nn.Module):
    """One hidden state, (B, T, n_fft / 2 + 1).

    Args:
        model_config: yaml in S3PRL's format; by default n_fft 512, hop 320, Hann window of 512, centred, no logarithm.
        options: fields of :class:`StftOptions` that replace the config's, such as ``log=True``.
    """

    batch_independent = True
    stateless = True

    def __init__(self, ckpt: None = None, model_config: str | Path | None = None, refresh: bool = False, **options: Any):
        super().__init__()
        self.name = "stft_mag"
        config = load_config(model_config) if model_config else {}
        config["spectrogram"] = {**(config.get("spectrogram") or {}), **options}
        self.options = StftOptions.of(config, str(model_config or "stft_mag"))
        self.output_dim = self.options.n_fft // 2 + 1
        self.register_buffer("window", WINDOWS[self.options.window](self.options.win_length), persistent=False)

    def get_downsample_rates(self, key: str) -> int:
        """Samples per frame."""
        return self.options.hop_length

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        """The padded magnitudes as one-element lists under ``hidden_states`` and ``last_hidden_state``; ``lengths`` (B,)."""
        wavs = check_waves(wavs, self.options.least_samples)
        items = [self._magnitude(wav) for wav in wavs]
        features = pad_waves(items)
        lengths = torch.tensor([len(item) for item in items], device=features.device)
        return {"last_hidden_state": [features], "hidden_states": [features], "lengths": lengths}

    def _magnitude(self, wav: Tensor) -> Tensor:
        """(T, n_fft / 2 + 1) of one waveform."""
        o = self.options
        window = self.window.to(wav.device)
        spectrum = torch.stft(wav, o.n_fft, o.hop_length, o.win_length, window, o.center, "reflect", return_complex=True)
        magnitude = spectrum.abs().T
        return magnitude.clamp(min=LOG_FLOOR).log() if o.log else magnitude
