"""Recordings in chunks, with who speaks in each frame (spec: downstream-speaker.md 5.2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from .kaldi import Recording, read_samples

LEAST_S = 0.03  # shorter ends of recordings are prolonged by silence: no upstream makes a frame of them


@dataclass(frozen=True)
class Framing:
    """How time becomes frames and chunks.

    Args:
        rate: samples per second.
        shift: samples per frame of labels.
        chunk: frames of a chunk.
        speakers: columns of the labels.
        published: labels as S3PRL makes them: a turn that covers a chunk wholly, with neither end in it, is left out of it.
    """

    rate: int
    shift: int
    chunk: int
    speakers: int
    published: bool = False

    def frames_in(self, recording: Recording) -> int:
        """Whole frames of a recording."""
        return int(recording.seconds * self.rate / self.shift)

    def chunks_of(self, frames: int) -> list[tuple[int, int]]:
        """First frame, and the one after the last, of each chunk; what remains at the end is the last, shorter one."""
        return list(chunk_ranges(frames, self.chunk, self.chunk))

    def labels(self, recording: Recording, start: int, end: int) -> np.ndarray:
        """(end - start, speakers) float32: 1 where a speaker, the columns being in the order of names, speaks."""
        labels = np.zeros((end - start, self.speakers), np.float32)
        edges = np.rint(recording.turns * self.rate / self.shift).astype(int)
        for (first, last), speaker in zip(edges, recording.speaker, strict=True):
            inside = start <= first < end or start < last <= end
            if inside or (not self.published and first < end and last > start):
                labels[max(first - start, 0) : max(last - start, 0), speaker] = 1
        return labels


def chunk_ranges(frames: int, size: int, step: int, use_last: bool = True, delay: int = 0) -> Iterator[tuple[int, int]]:
    """Ranges of ``size`` frames every ``step``, and, with ``use_last``, what remains beyond the last one if it is longer than ``delay``."""
    count = max(0, (frames - size + step) // step)
    yield from ((index * step, index * step + size) for index in range(count))
    covered = (count - 1) * step + size if count else 0
    if use_last and covered < frames and frames - count * step - delay > 0:
        yield count * step, frames


@dataclass(frozen=True)
class Chunk:
    """A part of a recording.

    Args:
        recording: index of the recording.
        start, end: first frame, and the one after the last.
    """

    recording: int
    start: int
    end: int


Item = list[tuple[Tensor, Tensor, tuple[str, int]]]


class DiarizationDataset(Dataset):
    """Items are lists of (waveform, labels, (recording, first frame)): a chunk each or, if ``whole``, all chunks of a recording.

    Args:
        recordings: of a split.
        framing: frames and chunks.
        whole: an item is a recording.
    """

    def __init__(self, recordings: Sequence[Recording], framing: Framing, whole: bool = False):
        self.recordings, self.framing = recordings, framing
        chunks = [
            [Chunk(number, *edges) for edges in framing.chunks_of(framing.frames_in(recording))]
            for number, recording in enumerate(recordings)
        ]
        self.items = [own for own in chunks if own] if whole else [[chunk] for own in chunks for chunk in own]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Item:
        return [self._part(chunk) for chunk in self.items[index]]

    def _part(self, chunk: Chunk) -> tuple[Tensor, Tensor, tuple[str, int]]:
        recording, framing = self.recordings[chunk.recording], self.framing
        wav = read_samples(recording, framing.rate, chunk.start * framing.shift, (chunk.end - chunk.start) * framing.shift)
        wav = np.pad(wav, (0, max(0, int(LEAST_S * framing.rate) - len(wav))))
        labels = framing.labels(recording, chunk.start, chunk.end)
        return torch.from_numpy(wav), torch.from_numpy(labels), (recording.name, chunk.start)

    @staticmethod
    def collate_fn(samples: list[Item]) -> tuple[list[Tensor], list[Tensor], list[tuple[str, int]]]:
        """``(wavs, labels, places)``: labels (T_i, speakers), a place being a recording and the frame at which its chunk begins."""
        wavs, labels, places = zip(*(part for item in samples for part in item), strict=True)
        return list(wavs), list(labels), list(places)
