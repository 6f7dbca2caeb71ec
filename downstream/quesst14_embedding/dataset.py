"""Queries and documents as segments of three seconds."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from downstream.blocks.quesst import Recording
from utility.audio.effects import apply_effects
from utility.audio.io import load_audio

from .corpus import Pairs

SAMPLE_RATE = 16000
SEGMENT, HOP = 3 * SAMPLE_RATE, 12000
EFFECTS = (("channels", "1"), ("rate", str(SAMPLE_RATE)), ("norm",))
PairItem = tuple[Tensor, Tensor, tuple[str, str], int]
RecordingItem = tuple[Tensor, str, bool]


def read_waveform(path: str | Path) -> Tensor:
    """(n,) float32: one channel, 16 kHz, as loud as it can be.

    Raises:
        DataError: the file cannot be read.
    """
    return torch.from_numpy(apply_effects(load_audio(path, SAMPLE_RATE), SAMPLE_RATE, EFFECTS)[0])


def filled_up(wav: Tensor) -> Tensor:
    """(n,) -> (m,): zeros up to one segment, or, as S3PRL has it, to the next multiple of the hop above the length."""
    target = SEGMENT if len(wav) <= SEGMENT else (len(wav) // HOP + 1) * HOP
    return F.pad(wav, (0, target - len(wav)))


def segments_of(wav: Tensor) -> Tensor:
    """(n,) -> (segments, 48000): a segment every 12000 samples, zeros at the end of the last."""
    return filled_up(wav).unfold(0, SEGMENT, HOP)


def query_of(path: str) -> Tensor:
    """(48000,): the first segment, which is all that is used of a query."""
    return segments_of(read_waveform(path)[:SEGMENT])[0]


class PairsDataset(Dataset):
    """Every pair of a query and a document that holds it, and as many of the same queries with a random document that does not.

    Items are (query, segments of the document, names of both, 1 or -1).
    """

    def __init__(self, pairs: Pairs):
        self.pairs = pairs

    def __len__(self) -> int:
        return 2 * len(self.pairs.positives)

    def __getitem__(self, index: int) -> PairItem:
        is_negative, place = divmod(index, len(self.pairs.positives))
        query, document = self.pairs.positives[place]
        while is_negative and (query.name, document.name) in self.pairs.targets:
            document = random.choice(self.pairs.documents)
        segments = segments_of(read_waveform(document.path))
        return query_of(query.path), segments, (query.name, document.name), -1 if is_negative else 1

    @staticmethod
    def collate_fn(samples: list[PairItem]) -> tuple[list[Tensor], list[str], list[int], list[int]]:
        """``(wavs, names, counts, labels)``: the queries, then all segments of the documents; the number of segments of each document."""
        queries, segments, names, labels = zip(*samples, strict=True)
        counts = [len(each) for each in segments]
        named = [query for query, _ in names] + _repeated([document for _, document in names], counts)
        return [*queries, *chain(*segments)], named, counts, list(labels)


class RecordingsDataset(Dataset):
    """Items are (segments, name, whether it is a query)."""

    def __init__(self, recordings: Sequence[Recording]):
        self.recordings = recordings

    def __len__(self) -> int:
        return len(self.recordings)

    def __getitem__(self, index: int) -> RecordingItem:
        recording = self.recordings[index]
        if recording.is_query:
            return query_of(recording.path)[None], recording.name, True
        return segments_of(read_waveform(recording.path)), recording.name, False

    @staticmethod
    def collate_fn(samples: list[RecordingItem]) -> tuple[list[Tensor], list[str], list[int], list[bool]]:
        """``(wavs, names, counts, are_queries)``: a name per segment, a number of segments and a flag per recording."""
        segments, names, are_queries = zip(*samples, strict=True)
        counts = [len(each) for each in segments]
        return list(chain(*segments)), _repeated(names, counts), counts, list(are_queries)


def _repeated(names: Sequence[str], counts: Sequence[int]) -> list[str]:
    """A name per segment."""
    return [name for name, count in zip(names, counts, strict=True) for _ in range(count)]
