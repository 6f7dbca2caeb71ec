"""Queries and documents as waveforms at 16 kHz."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from utility.audio.effects import apply_effects
from utility.audio.io import load_audio

from .corpus import Recording

SAMPLE_RATE = 16000
EFFECTS = (("channels", "1"), ("rate", str(SAMPLE_RATE)), ("gain", "-3.0"))


def read_waveform(path: str | Path) -> Tensor:
    """(n,) float32: one channel, 16 kHz, 3 dB quieter than the file.

    Raises:
        DataError: the file cannot be read.
    """
    return torch.from_numpy(apply_effects(load_audio(path, SAMPLE_RATE), SAMPLE_RATE, EFFECTS)[0])


class RecordingsDataset(Dataset):
    """Items are (waveform, name, whether it is a query)."""

    def __init__(self, recordings: Sequence[Recording]):
        self.recordings = recordings

    def __len__(self) -> int:
        return len(self.recordings)

    def __getitem__(self, index: int) -> tuple[Tensor, str, bool]:
        recording = self.recordings[index]
        return read_waveform(recording.path), recording.name, recording.is_query

    @staticmethod
    def collate_fn(samples: list[tuple[Tensor, str, bool]]) -> tuple[list[Tensor], list[str], list[bool]]:
        """``(wavs, names, are_queries)``."""
        wavs, names, are_queries = zip(*samples, strict=True)
        return list(wavs), list(names), list(are_queries)
