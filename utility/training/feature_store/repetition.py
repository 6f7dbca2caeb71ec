"""Does a split give the same waveforms in every epoch, or crops and the like that never come again?"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from utility.training.loading import Place, SeededDataset
from utility.training.packing import as_waveform

BATCHES = 4  # that are looked at, spread over the split


def repeats(get_loader: Callable[[int], Iterable], place: Place) -> bool:
    """Whether a few batches are equal, sample by sample, with the seeds of two epochs. Moves the global random streams.

    Args:
        get_loader: the task's loader of an epoch.
        place: which split, of which stream; the answer is the same on every rank.

    Returns:
        False as well for a split that cannot be asked, because it is a stream or no ``DataLoader``.
    """
    first, second = (_loader(get_loader, replace(place, epoch=epoch)) for epoch in (0, 1))
    loaders = (first, second)
    if not all(isinstance(one, DataLoader) and not isinstance(one.dataset, IterableDataset) for one in loaders):
        return False
    keys = _some(list(first.batch_sampler if first.batch_sampler is not None else first.sampler))
    try:
        return all(_equal(*(_waves(one, key, replace(place, epoch=epoch)) for epoch, one in enumerate(loaders))) for key in keys)
    except (IndexError, KeyError):  # the dataset of the next epoch has other items
        return False


def _loader(get_loader: Callable[[int], Iterable], place: Place) -> Any:
    place.seed_order()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create .* worker processes")
        return get_loader(place.epoch)


def _some(keys: list) -> list:
    return [keys[round(number * (len(keys) - 1) / (BATCHES - 1))] for number in range(BATCHES)] if len(keys) > BATCHES else keys


def _waves(loader: DataLoader, key: Any, place: Place) -> list[Tensor]:
    """The waveforms of one batch, made as the Runner has them made."""
    items = SeededDataset(loader.dataset, place)
    batched = loader.batch_sampler is not None
    read = [items[index.item() if isinstance(index, Tensor) else index, 0] for index in (key if batched else [key])]
    batch = loader.collate_fn(read if batched else read[0])
    return [as_waveform(wav) for wav in batch[0]]


def _equal(first: list[Tensor], second: list[Tensor]) -> bool:
    pairs: Iterator[tuple[Tensor, Tensor]] = zip(first, second, strict=False)
    return len(first) == len(second) and all(torch.equal(one, other) for one, other in pairs)
