"""Labelled recordings as batches, whole or cut in training."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from downstream.blocks.presence import missing_below
from utility.audio.io import audio_info, load_audio
from utility.errors import DataError

SAMPLE_RATE = 16000
Batch = tuple[list[Tensor], list[Any], list[str]]


@dataclass(frozen=True, slots=True)
class Recording:
    """One item.

    Args:
        path: the audio file, of any rate.
        label: the number of its class, or a number for each question.
        name: what the files of answers call it.
    """

    path: str
    label: int | tuple[int, ...]
    name: str


class RecordingDataset(Dataset):
    """Items are (waveform at 16 kHz, label, name).

    Args:
        recordings: the items.
        longest: samples; of longer recordings a random part of this length is taken at each access. None: all come whole.
    """

    def __init__(self, recordings: Sequence[Recording], longest: int | None = None):
        self.recordings, self.longest = recordings, longest

    def __len__(self) -> int:
        return len(self.recordings)

    def __getitem__(self, index: int) -> tuple[Tensor, int | tuple[int, ...], str]:
        recording = self.recordings[index]
        wav = load_audio(recording.path, SAMPLE_RATE) if self.longest is None else read_part(recording.path, self.longest)
        return torch.from_numpy(wav), recording.label, recording.name

    @staticmethod
    def collate_fn(samples: list[tuple[Tensor, Any, str]]) -> Batch:
        """``(wavs, labels, names)``."""
        wavs, labels, names = zip(*samples, strict=True)
        return list(wavs), list(labels), list(names)


def read_part(path: str, longest: int) -> np.ndarray:
    """A recording at 16 kHz, cut to ``longest`` samples at a place that all have the same chance of.

    Of files that are stored at 16 kHz only that part is read.

    Raises:
        DataError: the file cannot be read.
    """
    info = audio_info(path)
    if info.sample_rate != SAMPLE_RATE:
        wav = load_audio(path, SAMPLE_RATE)
        start = random.randint(0, max(0, len(wav) - longest))
        return wav[start : start + longest]
    return load_audio(path, SAMPLE_RATE, random.randint(0, max(0, info.frames - longest)), longest)


def recording_loader(
    recordings: Sequence[Recording], batch_size: int, num_workers: int = 0, shuffle: bool = False, longest: int | None = None
) -> DataLoader:
    """Batches of ``(wavs, labels, names)``; the last one may be smaller."""
    return DataLoader(
        RecordingDataset(recordings, longest),
        batch_size=batch_size,
        shuffle=shuffle,
        num_workers=num_workers,
        collate_fn=RecordingDataset.collate_fn,
    )


def check_recordings(root: str | Path, paths: Iterable[str], listed_in: str) -> None:
    """Refuses lists whose recordings are not there, before the first of them is drawn. Each folder of recordings is listed once.

    Args:
        root: what ``paths`` are relative to.
        paths: of the recordings, with ``/`` between folders.
        listed_in: how the sentence calls the list, such as ``"FIELD: table PATH"``.

    Raises:
        DataError: recordings are missing; how many, and one of them, are named.
    """
    paths = list(paths)
    missing = missing_below(root, paths)
    if missing:
        raise DataError(f"{listed_in} names {len(paths)} recordings, {len(missing)} of which are not below {root}, such as {missing[0]}")
