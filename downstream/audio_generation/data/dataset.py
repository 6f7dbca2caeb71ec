"""Recordings as waveforms and as codes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from utility.audio.io import load_audio

from ..quantise import Quantiser
from .corpora import Chunk


class CodeDataset(Dataset):
    """Items are (waveform (L,) float32, codes (L,) int64), each part of a recording scaled by itself.

    Args:
        chunks: the parts of the recordings.
        quantiser: waveforms to codes.
        sample_rate: in Hz.
        kept: how many items stay in memory, for readers that come back to them at once.
    """

    def __init__(self, chunks: Sequence[Chunk], quantiser: Quantiser, sample_rate: int, kept: int = 0):
        self.chunks, self.quantiser, self.sample_rate, self.kept = chunks, quantiser, sample_rate, kept
        self._items: OrderedDict[int, tuple[Tensor, Tensor]] = OrderedDict()

    def __len__(self) -> int:
        return len(self.chunks)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if index not in self._items:
            chunk = self.chunks[index]
            wav = torch.from_numpy(load_audio(chunk.path, self.sample_rate, chunk.start, chunk.frames))
            item = wav, self.quantiser.encode(wav)
            if not self.kept:
                return item
            self._items[index] = item
            if len(self._items) > self.kept:
                self._items.popitem(last=False)
        return self._items[index]
