"""Batches of recordings with the ids of their texts (spec: downstream-content.md 2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch.utils.data import DataLoader, Dataset

from utility.audio.io import load_audio

from .corpora import Example

SAMPLE_RATE = 16000
HALVED_ABOVE = 300_000


class Item(NamedTuple):
    """A waveform, (samples,) float32 at 16 kHz, its ids and its name."""

    wav: np.ndarray
    ids: Sequence[int]
    name: str


class Recordings(Dataset):
    """One :class:`Item` per example."""

    def __init__(self, examples: Sequence[Example]):
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Item:
        example = self.examples[index]
        return Item(load_audio(example.path, SAMPLE_RATE), example.ids, example.name)


class Windows(Dataset):
    """S3PRL's training batches: item i is a whole batch, the window of ``size`` examples from the i-th on.

    The examples are sorted by the lengths of their labels, so that a window holds labels of like length; most examples are in ``size``
    windows. The last windows are moved back so that all are equally long.

    A window is one item and not ``size`` indices, so that the order of an epoch is as short as the list of examples.
    """

    def __init__(self, examples: Sequence[Example], size: int):
        self.recordings, self.size = Recordings(examples), size

    def __len__(self) -> int:
        return len(self.recordings)

    def indices(self, index: int) -> range:
        """The examples of a window."""
        start = min(index, max(0, len(self) - self.size))
        return range(start, min(start + self.size, len(self)))

    def __getitem__(self, index: int) -> list[Item]:
        # Only so many are read as the window keeps.
        wanted = self.indices(index)
        first = self.recordings[wanted[0]]
        return [first, *(self.recordings[other] for other in wanted[1 : kept_of(len(wanted), len(first.wav))])]


def kept_of(size: int, samples: int) -> int:
    """How many of a window's items stay: the first half where the first one is longer than 300000 samples (18.75 s)."""
    return max(1, size // 2) if samples > HALVED_ABOVE else size


def collate(items: list[Item]) -> tuple[list[np.ndarray], list[list[int]], list[str]]:
    """``(wavs, ids, names)``, the longest waveform first."""
    ordered = sorted(items, key=lambda item: -len(item.wav))
    return [item.wav for item in ordered], [list(item.ids) for item in ordered], [item.name for item in ordered]


def collate_window(windows: list[list[Item]]) -> tuple[list[np.ndarray], list[list[int]], list[str]]:
    """:func:`collate` of a batch that is one window."""
    return collate(windows[0])


def training_batches(examples: Sequence[Example], size: int, bucketing: bool, workers: int) -> DataLoader:
    """Windows in random order, or random batches where ``bucketing`` is off."""
    if bucketing:
        return DataLoader(Windows(examples, size), batch_size=1, shuffle=True, num_workers=workers, collate_fn=collate_window)
    return DataLoader(Recordings(examples), batch_size=size, shuffle=True, num_workers=workers, collate_fn=collate)


def evaluation_batches(examples: Sequence[Example], size: int, workers: int) -> DataLoader:
    """All examples once, those with the longest labels first, so that a batch holds recordings of like length."""
    return DataLoader(Recordings(examples), batch_size=size, num_workers=workers, collate_fn=collate)
