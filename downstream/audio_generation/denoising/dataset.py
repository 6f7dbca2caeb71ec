"""Recordings as waveforms alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from utility.audio.io import load_audio

from ..data.corpora import Chunk


class WaveDataset(Dataset):
    """Items are waveforms (L,) float32.

    Args:
        chunks: the parts of the recordings.
        sample_rate: in Hz.
    """

    def __init__(self, chunks: Sequence[Chunk], sample_rate: int):
        self.chunks, self.sample_rate = chunks, sample_rate

    def __len__(self) -> int:
        return len(self.chunks)

    def __getitem__(self, index: int) -> Tensor:
        chunk = self.chunks[index]
        return torch.from_numpy(load_audio(chunk.path, self.sample_rate, chunk.start, chunk.frames))


def tuples(items: list[Tensor]) -> tuple[list[Tensor]]:
    """A batch of waveforms and nothing else."""
    return (items,)
