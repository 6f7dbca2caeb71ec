"""Queries and documents as waveforms at 16 kHz."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from downstream.blocks.quesst import Recording
from utility.audio.effects import apply_effects
from utility.audio.io import load_audio

SAMPLE_RATE = 16000
EFFECTS = (("channels", "1"), ("rate", str(SAMPLE_RATE)), ("gain", "-3.0"))
Item = tuple[Tensor, str, bool, int]


def read_waveform(path: str | Path) -> Tensor:
    """(n,) float32: one channel, 16 kHz, 3 dB quieter than the file.

    Raises:
        DataError: the file cannot be read.
    """
    return torch.from_numpy(apply_effects(load_audio(path, SAMPLE_RATE), SAMPLE_RATE, EFFECTS)[0])


class RecordingsDataset(Dataset):
    """Items are (waveform, name, whether it is a query, samples of the recording).

    Args:
        recordings: what to read.
        least: zeros follow a recording of fewer samples, so that no upstream finds it too short.
    """

    def __init__(self, recordings: Sequence[Recording], least: int = 0):
        self.recordings, self.least = recordings, least

    def __len__(self) -> int:
        return len(self.recordings)

    def __getitem__(self, index: int) -> Item:
        recording = self.recordings[index]
        wav = read_waveform(recording.path)
        return F.pad(wav, (0, max(0, self.least - len(wav)))), recording.name, recording.is_query, len(wav)

    @staticmethod
    def collate_fn(samples: list[Item]) -> tuple[list[Tensor], list[str], list[bool], list[int]]:
        """``(wavs, names, are_queries, samples)``."""
        return tuple(map(list, zip(*samples, strict=True)))
