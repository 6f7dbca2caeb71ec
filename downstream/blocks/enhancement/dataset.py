"""Pairs of recordings as waveforms."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from downstream.blocks.enhancement.pairs import PairedFiles
from utility.audio.io import audio_info, load_audio
from utility.errors import DataError

SLACK_S = 0.1  # by how much the two recordings of a pair may differ in length
Item = tuple[Tensor, Tensor, str]
Batch = tuple[list[Tensor], list[Tensor], list[Tensor], list[str]]


def load_pair(pair: PairedFiles, sample_rate: int, least_samples: int = 1) -> tuple[Tensor, Tensor]:
    """(noisy, clean), 1-D float32 of equal length at ``sample_rate``; the longer one loses its end.

    Args:
        pair: the files; several channels are averaged.
        sample_rate: in Hz.
        least_samples: shorter ones are refused.

    Raises:
        DataError: a file is unreadable, at a lower rate, too short, or silent where it should be clean speech; or their lengths differ.
    """
    for path in (pair.noisy, pair.clean):
        if (rate := audio_info(path).sample_rate) < sample_rate:
            raise DataError(
                f"audio file {path} is at {rate} Hz, below the {sample_rate} Hz of the task: "
                f"it has nothing above {rate // 2} Hz to learn from"
            )
    noisy, clean = (load_audio(path, sample_rate) for path in (pair.noisy, pair.clean))
    if abs(len(noisy) - len(clean)) > SLACK_S * sample_rate:
        seconds = (len(noisy) / sample_rate, len(clean) / sample_rate)
        raise DataError(f"{pair.noisy} has {seconds[0]:.2f} s and {pair.clean} {seconds[1]:.2f} s: they are no pair")
    length = min(len(noisy), len(clean))
    if length < least_samples:
        raise DataError(f"audio file {pair.noisy} has {length} samples at {sample_rate} Hz, fewer than a window of {least_samples}")
    if not np.any(clean[:length]):
        raise DataError(f"the clean recording {pair.clean} is silent")
    return torch.from_numpy(noisy[:length]), torch.from_numpy(clean[:length])


class PairDataset(Dataset):
    """Items are (noisy, clean, name).

    Args:
        pairs: the recordings.
        sample_rate: of the waveforms, in Hz.
        least_samples: see :func:`load_pair`.
        longest: samples; of longer pairs a random part of this length is taken at each access. None: all come whole.
    """

    def __init__(self, pairs: Sequence[PairedFiles], sample_rate: int, least_samples: int = 1, longest: int | None = None):
        self.pairs, self.sample_rate, self.least_samples, self.longest = pairs, sample_rate, least_samples, longest

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Item:
        noisy, clean = load_pair(self.pairs[index], self.sample_rate, self.least_samples)
        if self.longest is not None and len(noisy) > self.longest:
            start = random.randint(0, len(noisy) - self.longest)
            noisy, clean = noisy[start : start + self.longest], clean[start : start + self.longest]
        return noisy, clean, self.pairs[index].name

    @staticmethod
    def collate_fn(items: list[Item]) -> Batch:
        """``(wavs, noisy, clean, names)``; ``wavs``, which go through the upstream, are the noisy ones."""
        noisy, clean, names = zip(*items, strict=True)
        return list(noisy), list(noisy), list(clean), list(names)


def pair_loader(
    pairs: Sequence[PairedFiles],
    sample_rate: int,
    batch_size: int = 1,
    num_workers: int = 0,
    shuffle: bool = False,
    least_samples: int = 1,
    longest: int | None = None,
) -> DataLoader:
    """Batches of ``(wavs, noisy, clean, names)``; the last one may be smaller."""
    return DataLoader(
        PairDataset(pairs, sample_rate, least_samples, longest),
        batch_size=batch_size,
        shuffle=shuffle,
        num_workers=num_workers,
        collate_fn=PairDataset.collate_fn,
    )
