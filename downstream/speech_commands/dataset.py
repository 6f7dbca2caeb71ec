"""Clips of Speech Commands as waveforms at 16 kHz."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from utility.audio.effects import apply_effects
from utility.audio.io import audio_info, load_audio

from .corpus import RANDOM, Clip

SAMPLE_RATE = 16000
EFFECTS = (("channels", "1"), ("rate", str(SAMPLE_RATE)), ("gain", "-3.0"))


def read_clip(clip: Clip) -> np.ndarray:
    """The waveform of a clip: one channel, 16 kHz, 3 dB quieter than the file.

    The random second of a noise starts anywhere from its beginning to one second before its end; shorter noises come whole. Of noises
    that are stored at 16 kHz only that second is read.

    Returns:
        float32 of shape (samples,).

    Raises:
        DataError: the file cannot be read.
    """
    if clip.second is None:
        return _loud_as_published(load_audio(clip.path, SAMPLE_RATE))
    info = audio_info(clip.path)
    if info.sample_rate != SAMPLE_RATE:
        wav = load_audio(clip.path, SAMPLE_RATE)
        start = _start(clip, len(wav))
        return _loud_as_published(wav[start : start + SAMPLE_RATE])
    return _loud_as_published(load_audio(clip.path, SAMPLE_RATE, _start(clip, info.frames), SAMPLE_RATE))


def _start(clip: Clip, samples: int) -> int:
    last = max(0, samples - SAMPLE_RATE)
    return random.randint(0, last) if clip.second == RANDOM else min(clip.second * SAMPLE_RATE, last)


def _loud_as_published(wav: np.ndarray) -> np.ndarray:
    """S3PRL's chain of SoX effects; ``load_audio`` has done the first two, which change nothing then."""
    return apply_effects(wav, SAMPLE_RATE, EFFECTS)[0]


class SpeechCommandsDataset(Dataset):
    """Items are (waveform, label, name)."""

    def __init__(self, clips: Sequence[Clip]):
        self.clips = clips

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> tuple[Tensor, int, str]:
        clip = self.clips[index]
        return torch.from_numpy(read_clip(clip)), clip.label, clip.name

    @staticmethod
    def collate_fn(samples: list[tuple[Tensor, int, str]]) -> tuple[list[Tensor], list[int], list[str]]:
        """``(wavs, labels, names)``."""
        wavs, labels, names = zip(*samples, strict=True)
        return list(wavs), list(labels), list(names)
