"""Truncated backpropagation through time: sequences in chunks that follow each other, one update a chunk.

A batch of the loader is one chunk of a group of sequences; the network's state goes on from chunk to chunk and begins anew with the
next group. With several processes each goes through groups of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from utility.training.fields import Count

from .batches import IGNORED, Framing
from .dataset import CodeDataset

Key = tuple[int, int]  # number of the sequence, number of the chunk


@dataclass(frozen=True)
class Chunking:
    """The section ``tbptt``.

    Args:
        chunk_len: codes of a chunk.
        overlap_len: how many codes the network reads to say one; it must be one more than the zero tokens that it needs.
        drop_tail: leave out what comes last in each group, the whole last chunk where the length is a multiple of ``chunk_len``: the
            published results are of 15360 of the 16000 samples of SC09.
    """

    chunk_len: Count = 1024
    overlap_len: Count = 32
    drop_tail: bool = True

    def starts(self, length: int) -> list[int]:
        """Where the chunks of sequences of ``length`` codes begin; a single one is never left out."""
        starts = list(range(0, length, self.chunk_len))
        return starts[:-1] if self.drop_tail and len(starts) > 1 else starts

    def window(self, x: Tensor, y: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """The chunk of a batch: inputs (B, overlap_len - 1 + n) of x (B, overlap_len - 1 + L), targets (B, n) of y (B, L)."""
        stop = min(start + self.chunk_len, y.size(1))
        return x[:, start : stop + self.overlap_len - 1], y[:, start:stop]


class ChunkDataset(Dataset):
    """Items are (waveform, codes, number of the chunk) of keys :data:`Key`; :meth:`collate` cuts the chunk out."""

    def __init__(self, dataset: CodeDataset, framing: Framing, chunking: Chunking):
        self.dataset, self.framing, self.chunking = dataset, framing, chunking

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: Key) -> tuple[Tensor, Tensor, int]:
        index, chunk = key
        return *self.dataset[index], chunk

    def collate(self, items: list[tuple[Tensor, Tensor, int]]) -> tuple[list[Tensor], Tensor, Tensor, bool]:
        """``(wavs, x, y, whether a group begins)``; of the waveforms the part that the chunk is about, or a sample where there is none.

        Behind the end of the sequences, where those of another process are longer, the chunk is a single code that is not scored.
        """
        wavs, codes, numbers = zip(*items, strict=True)
        start, length = numbers[0] * self.chunking.chunk_len, self.framing.length(max(map(len, codes)))
        parts = [wav[min(start, len(wav) - 1) :][: self.chunking.chunk_len] for wav in wavs]
        if start < length:
            return parts, *self.framing.window(codes, start, min(start + self.chunking.chunk_len, length)), start == 0
        x, y = self.framing.window(codes, length - 1, length)
        return parts, x, torch.full_like(y, IGNORED), False


class ChunkOrder(Sampler[list[Key]]):
    """Groups of sequences, chunk by chunk; drawn anew for each pass if ``shuffle``.

    Args:
        lengths: of the sequences.
        chunking: where the chunks begin.
        batch_size: sequences of a group; what is left over makes a smaller one.
        shuffle: draw the groups at random.
        ranks: processes that the batches are dealt to in turn.
    """

    def __init__(self, lengths: Sequence[int], chunking: Chunking, batch_size: int, shuffle: bool, ranks: int = 1):
        self.lengths, self.chunking, self.batch_size, self.shuffle, self.ranks = lengths, chunking, batch_size, shuffle, ranks

    def __iter__(self) -> Iterator[list[Key]]:
        order = torch.randperm(len(self.lengths)).tolist() if self.shuffle else list(range(len(self.lengths)))
        groups = [order[i : i + self.batch_size] for i in range(0, len(order), self.batch_size)]
        groups = groups[: len(groups) // self.ranks * self.ranks] or [groups[i % len(groups)] for i in range(self.ranks)]
        for first in range(0, len(groups), self.ranks):
            together = groups[first : first + self.ranks]
            count = max(len(self.chunking.starts(max(self.lengths[i] for i in group))) for group in together)
            for chunk in range(count):
                yield from ([(index, chunk) for index in group] for group in together)
