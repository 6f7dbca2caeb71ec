"""Waveforms travel from a loader worker to the main process as one block of memory, not as one message each.

Arrays of numpy would otherwise be copied through a pipe, and each tensor would need a shared file of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from utility.errors import DataError, ToolkitError


@dataclass
class Packed:
    """A batch ``(wavs, *others)`` whose waveforms lie one behind the other.

    Args:
        flat: all samples, float32.
        lengths: samples of each waveform.
        others: the rest of the batch.
        kind: type of the batch, ``list`` or ``tuple``.
    """

    flat: Tensor
    lengths: list[int]
    others: tuple
    kind: type

    def unpack(self) -> list | tuple:
        """The batch, its waveforms as views of the block."""
        return self.kind([list(self.flat.split(self.lengths)), *self.others])

    def pin_memory(self) -> Packed:
        """What the loader calls when it pins batches."""
        return Packed(self.flat.pin_memory(), self.lengths, self.others, self.kind)


@dataclass
class Failure:
    """A user's error in a loader worker, on its way to the main process, which raises it as the sentence that it is."""

    sentence: str


@dataclass
class Packing:
    """The task's collate function, and packing where the batch allows it."""

    collate: Callable[[list], Any]

    def __call__(self, items: Any) -> Any:
        failures = [item for item in (items if isinstance(items, list) else [items]) if isinstance(item, Failure)]
        if failures:
            return failures[0]
        try:
            return self.pack(self.collate(items))
        except ToolkitError as error:
            return Failure(str(error))

    @staticmethod
    def pack(batch: Any) -> Any:
        """The batch with its waveforms in one block, or as it is."""
        if type(batch) not in (list, tuple) or not batch or not _are_waveforms(batch[0]):
            return batch
        wavs = [torch.as_tensor(wav, dtype=torch.float32) for wav in batch[0]]
        return Packed(torch.cat(wavs), [len(wav) for wav in wavs], tuple(batch[1:]), type(batch))


@dataclass
class Unpacked:
    """A loader whose packed batches come out as the task made them."""

    loader: Iterable

    def __iter__(self) -> Iterator:
        for batch in self.loader:
            if isinstance(batch, Failure):
                raise DataError(batch.sentence)
            yield batch.unpack() if isinstance(batch, Packed) else batch


def _are_waveforms(wavs: Any) -> bool:
    return isinstance(wavs, (list, tuple)) and len(wavs) > 0 and all(isinstance(w, (Tensor, np.ndarray)) and w.ndim == 1 for w in wavs)
