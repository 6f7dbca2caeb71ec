"""The frames that Mockingjay, TERA and Audio ALBERT read: Kaldi features, or features of a centred STFT of waves of one level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from utility.errors import ConfigError
from utility.features.feature_config import is_number, kaldi_features, spectral_features
from utility.features.waves import check_waves, pad_waves

LEVEL_EPS = 1e-10
TARGET_LEVEL = -25
MOST_DECIBELS = 1000


class KaldiFrames:
    """Kaldi features; an item's never depend on its batch.

    Args:
        audio: section of a config with the key ``kaldi``.
        source: the file, for the sentence.
    """

    def __init__(self, audio: Mapping[str, Any], source: str):
        self.pipeline = kaldi_features(audio, source)
        self.dim, self.rate, self.least_samples = self.pipeline.dim, self.pipeline.rate, self.pipeline.options.least_samples

    def batch(self, wavs: list[Tensor]) -> tuple[Tensor, Tensor]:
        """(B, T, dim) zero-padded, and the frames of each item (B,)."""
        return self.pipeline(wavs)

    def items(self, wavs: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        """(T_i, dim) of each item, and their frames (B,)."""
        frames, lengths = self.pipeline(wavs)
        return [item[:n] for item, n in zip(frames, lengths.tolist(), strict=True)], lengths


class SpectralFrames:
    """Features of a centred STFT, of waves scaled to one level (specs/upstreams.md, section 7.2).

    Args:
        audio: section of a config with the key ``input``; ``target`` belongs to pre-training and is left alone.
        source: the file, for the sentence.
    """

    def __init__(self, audio: Mapping[str, Any], source: str):
        self.transform, self.spec = spectral_features(audio, source, ignored=("target", "target_level"))
        level = audio.get("target_level", TARGET_LEVEL)
        if not is_number(level) or abs(level) > MOST_DECIBELS:
            raise ConfigError(f"target_level must be a number of dB, not {level!r}", source)
        self.level = 10.0 ** (level / 20)
        self.dim, self.rate = self.transform.dim(self.spec), self.transform.rate(self.spec)
        self.least_samples = self.transform.least_samples

    def batch(self, wavs: list[Tensor]) -> tuple[Tensor, Tensor]:
        """(B, T, dim) of the padded batch, as published: an item's last frames and its statistics depend on the longest item.

        Behind the lengths (B,) are zeros if the features are normalised.
        """
        wavs = self._levelled(wavs)
        return self.transform(pad_waves(wavs), _samples(wavs), self.spec)[0]

    def items(self, wavs: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        """As :meth:`batch`, each item alone: (T_i, dim), and (B,)."""
        made = [self.transform(wav[None], _samples([wav]), self.spec)[0] for wav in self._levelled(wavs)]
        return [frames[0] for frames, _ in made], torch.cat([length for _, length in made])

    def _levelled(self, wavs: Sequence[Tensor]) -> list[Tensor]:
        wavs = check_waves(wavs, self.least_samples)
        return [wav * (self.level / (wav.square().mean().sqrt() + LEVEL_EPS)) for wav in wavs]


def _samples(wavs: Sequence[Tensor]) -> Tensor:
    """(B,) lengths, trailing digital silence among them (unlike S3PRL's upstream ``mel``)."""
    return torch.tensor([len(wav) for wav in wavs], device=wavs[0].device)


def frames_of(audio: Mapping[str, Any], source: str) -> KaldiFrames | SpectralFrames:
    """The features of a config's ``audio`` section.

    Raises:
        ConfigError: unknown or impossible fields.
    """
    return KaldiFrames(audio, source) if "kaldi" in audio else SpectralFrames(audio, source)
