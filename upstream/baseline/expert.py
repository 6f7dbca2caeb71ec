"""Baseline features: Kaldi's fbank, mfcc and spectrogram, and mel and linear spectra of a centred STFT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from upstream.interfaces import UpstreamBase
from utility.experiment.config import load_config
from utility.features.deltas_cmvn import zero_padding
from utility.features.feature_config import kaldi_features, spectral_features
from utility.features.spectral import sounding_samples
from utility.features.waves import check_waves, pad_waves

DEFAULT_CONFIG = Path(__file__).resolve().parent / "fbank.yaml"


class UpstreamExpert(UpstreamBase):
    """Features without parameters; one hidden state.

    Args:
        model_config: yaml in S3PRL's format; fbank by default.
        batch_independent: compute mel and linear spectra one utterance at a time, so that they do not depend on the batch
            (off: as in S3PRL; Kaldi's features never do).
    """

    stateless = True

    def __init__(self, model_config: str | Path | None = None, batch_independent: bool = False):
        super().__init__()
        path = model_config or DEFAULT_CONFIG
        config = load_config(path)
        self.kaldi = self.spectral = self.spec = None
        if "kaldi" in config:
            self.kaldi = kaldi_features(config, str(path))
            self.rate, self.output_dim, self.batch_independent = self.kaldi.rate, self.kaldi.dim, True
        else:
            self.spectral, self.spec = spectral_features(config, str(path))
            self.rate, self.output_dim = self.spectral.rate(self.spec), self.spectral.dim(self.spec)
            self.batch_independent = batch_independent

    def get_downsample_rates(self, key: str) -> int:
        """Samples per frame."""
        return self.rate

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        """(B, T, D) features under ``last_hidden_state`` and ``hidden_states``; ``lengths`` (B,)."""
        features, lengths = self.kaldi(wavs) if self.kaldi else self._spectra(wavs)
        return {"last_hidden_state": features, "hidden_states": [features], "lengths": lengths}

    def _spectra(self, wavs: list[Tensor]) -> tuple[Tensor, Tensor]:
        wavs = check_waves(wavs, self.spectral.least_samples)
        if not self.batch_independent:
            return self._batch_of_spectra(wavs)
        items = [self.spectral(wav[None], torch.tensor([len(wav)], device=wav.device), self.spec)[0] for wav in wavs]
        return pad_waves([features[0] for features, _ in items]), torch.cat([length for _, length in items])

    def _batch_of_spectra(self, wavs: list[Tensor]) -> tuple[Tensor, Tensor]:
        """As S3PRL: lengths up to the last non-zero sample, the output cut by the ratio of the first waveform (README, traps)."""
        features, lengths = self.spectral(pad_waves(wavs), sounding_samples(wavs), self.spec)[0]
        features = features[:, : int(lengths.max())]
        kept = [round(len(wav) * features.size(1) / len(wavs[0])) for wav in wavs]
        return zero_padding(features, torch.tensor(kept, device=features.device))[:, : max(kept)], lengths
