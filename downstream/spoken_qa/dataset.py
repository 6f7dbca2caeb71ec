"""Passages with their questions as waveforms. Questions about one passage travel together, so that its features are computed once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from utility.audio.io import load_audio

from .corpus import Question, Span

SAMPLE_RATE = 16000
Group = tuple[Question, ...]


def grouped(questions: Sequence[Question], most: int) -> list[Group]:
    """Questions by passage, in the order in which the passages first occur, at most ``most`` in a group."""
    by_passage: dict[tuple[str, ...], list[Question]] = {}
    for question in questions:
        by_passage.setdefault(question.passage, []).append(question)
    return [tuple(own[start : start + most]) for own in by_passage.values() for start in range(0, len(own), most)]


class Asked(NamedTuple):
    """One passage with questions: waveforms (n,), names and annotations of the questions."""

    passage: Tensor
    questions: list[Tensor]
    names: list[str]
    spans: list[tuple[Span, ...]]


class SpokenQADataset(Dataset):
    """Items are :class:`Asked`; the segments of a passage are joined."""

    def __init__(self, groups: Sequence[Group]):
        self.groups = groups

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, index: int) -> Asked:
        group = self.groups[index]
        passage = np.concatenate([load_audio(path, SAMPLE_RATE) for path in group[0].passage])
        questions = [torch.from_numpy(load_audio(question.audio, SAMPLE_RATE)) for question in group]
        return Asked(torch.from_numpy(passage), questions, [question.name for question in group], [question.spans for question in group])

    @staticmethod
    def collate_fn(items: list[Asked]) -> tuple[list[Tensor], list[int], list[str], list[tuple[Span, ...]]]:
        """``(wavs, counts, names, annotations)``: wavs are each passage followed by its questions, counts the questions of each passage."""
        wavs = [wav for item in items for wav in (item.passage, *item.questions)]
        names, spans = ([value for item in items for value in getattr(item, field)] for field in ("names", "spans"))
        return wavs, [len(item.questions) for item in items], names, spans
