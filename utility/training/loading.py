"""Rebuilds the data loader that a task returns, so that every batch is a function of (seed, split, epoch, position).

The order of an epoch is drawn once, with the global generators seeded for that epoch, and then travels to the workers as
``(epoch, index, repeat)``; each item is seeded from these before the task's dataset sees its index. A resumed run slices the order
instead of replaying it. It makes no difference how many workers there are.
"""

from __future__ import annotations

import copy
import os
import random
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import count, islice
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info
from torch.utils.data.distributed import DistributedSampler

from utility.errors import DataError, ToolkitError
from utility.training.packing import Extract, Failure, Packing, Unpacked
from utility.training.seeding import Stream, number_of, seed_everything
from utility.training.signals import end_workers_at_exit, held_back, leave_to_the_main_process


@dataclass(frozen=True)
class Place:
    """Which batches of which pass are wanted.

    Args:
        seed: the experiment's seed.
        stream: keeps the items of training and of evaluation apart.
        split: name of the split.
        epoch: index of the pass; 0 in evaluation.
        skip: batches (of this rank) to leave out at the beginning.
        rank, world: this process takes every ``world``-th batch, from ``rank`` on.
        even: every rank gets the same number of batches (training); otherwise the last round may be incomplete (evaluation).
        ratio: the part of the batches that is wanted, from the first on; at least one batch.
    """

    seed: int
    stream: Stream
    split: str
    epoch: int = 0
    skip: int = 0
    rank: int = 0
    world: int = 1
    even: bool = True
    ratio: float = 1.0

    def seed_order(self) -> None:
        """Seeds the global generators for everything that decides the order of this pass."""
        seed_everything(self.seed, Stream.ORDER, int(self.stream), number_of(self.split), self.epoch)

    def seed_item(self, *item: int) -> None:
        seed_everything(self.seed, Stream.ITEM, int(self.stream), number_of(self.split), self.epoch, *item)

    def limit(self, total: int | None) -> int | None:
        """How many of ``total`` batches are wanted; None = all, and all of a stream of unknown length."""
        return max(1, round(total * self.ratio)) if total and self.ratio < 1 else None

    def share(self, total: int) -> int:
        """How many of ``total`` batches of a pass this rank gets, skipped ones included."""
        total = self.limit(total) or total
        if self.even and self.world > 1:
            return total // self.world or min(total, 1)
        return len(range(self.rank, total, self.world))

    def mine(self, batches: list) -> list:
        """The batches of this rank, without those to skip."""
        batches = batches[: self.limit(len(batches))]
        if self.world > 1:
            if self.even and batches:
                batches = batches[: len(batches) // self.world * self.world] or [batches[i % len(batches)] for i in range(self.world)]
            batches = batches[self.rank :: self.world]
        return batches[self.skip :]


@dataclass(frozen=True)
class Pass:
    """The batches of one pass over a split.

    Args:
        batches: those of this rank.
        total: number of batches of the whole pass over all ranks; None if the loader cannot tell.
        expected: number of batches that ``batches`` yields, for a progress bar; None if unknown.
    """

    batches: Iterable
    total: int | None
    expected: int | None


def open_pass(get_loader: Callable[[], Iterable], place: Place, extract: Extract | None = None) -> Pass:
    """Opens a pass over a split.

    Args:
        get_loader: returns the task's loader; called with the global generators seeded for the pass.
        place: which batches.
        extract: an upstream that loader workers, where there are any, apply to their batches (:class:`Extracted` ones come out).

    Raises:
        DataError: the task's loader shuffles, and there is nothing to shuffle.
    """
    place.seed_order()
    with warnings.catch_warnings():
        # A config may ask for more workers than there are cores; the loader that is made of this one has no more than these.
        warnings.filterwarnings("ignore", "This DataLoader will create .* worker processes")
        loader = _loader_of_something(get_loader, place.split)
    if not isinstance(loader, DataLoader):
        return _replayed(loader, loader, place)
    if isinstance(loader.dataset, IterableDataset):
        how = {"batch_size": loader.batch_size, "drop_last": loader.drop_last}
        return _replayed(loader, _rebuild(loader, SeededStream(loader.dataset, place), how, extract), place)
    _reset_samplers(loader, place)
    dealt = replace(place, rank=0, world=1) if _is_distributed(loader) else place
    if type(loader).__iter__ is not DataLoader.__iter__:  # it does more than hand on the batches, which a loader made of it would not
        return _replayed(loader, _Own(loader), dealt)
    batched = loader.batch_sampler is not None
    order = list(loader.batch_sampler if batched else loader.sampler)
    wanted = dealt.mine(_keys(order, batched))
    how = {"batch_sampler": wanted} if batched else {"sampler": wanted, "batch_size": None}
    return Pass(Unpacked(_rebuild(loader, SeededDataset(loader.dataset, place), how, extract)), len(order), len(wanted))


def _loader_of_something(get_loader: Callable[[], Iterable], split: str) -> Iterable:
    try:
        return get_loader()
    except ValueError as error:
        if "num_samples=0" not in str(error):  # torch's word for a random order of nothing
            raise
        raise DataError(f"the split {split!r} has no item") from error


def _replayed(loader: Iterable, batches: Iterable, place: Place) -> Pass:
    try:
        total = len(loader)
    except TypeError:
        total = None
    expected = None if total is None else max(0, place.share(total) - place.skip)
    return Pass(_Replayed(batches, place, place.limit(total)), total, expected)


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class SeededDataset(Dataset):
    """A map-style dataset read by ``(index, repeat)`` keys, each item seeded from its key.

    ``repeat`` counts earlier draws of the same index in the epoch, so that an item sampled twice is augmented twice.
    """

    def __init__(self, dataset: Any, place: Place):
        self.dataset, self.place = dataset, place

    def __getitem__(self, key: tuple[Any, int]) -> Any:
        index, repeat = key
        self.place.seed_item(index if isinstance(index, int) and index >= 0 else number_of(index), repeat)
        return _read(lambda: self.dataset[index])

    def __len__(self) -> int:
        return len(self.dataset)


class SeededStream(IterableDataset):
    """An iterable dataset whose n-th item of each worker is seeded from (epoch, worker, n)."""

    def __init__(self, dataset: Iterable, place: Place):
        self.dataset, self.place = dataset, place

    def __iter__(self) -> Iterator:
        info = get_worker_info()
        worker = info.id if info else 0
        self.place.seed_item(worker, 0)
        items = iter(self.dataset)
        for number in count(1):
            self.place.seed_item(worker, number)
            try:
                item = _read(lambda: next(items))
            except StopIteration:
                return
            yield item


def _read(item: Callable[[], Any]) -> Any:
    """An item; in a worker, a user's error comes back as a value, since the loader would bury its sentence in tracebacks."""
    if get_worker_info() is None:
        return item()
    try:
        return item()
    except ToolkitError as error:
        return Failure(str(error))


class _Replayed:
    """Batches that can only be read from the first on: those of other ranks and those to skip are read and dropped."""

    def __init__(self, batches: Iterable, place: Place, limit: int | None):
        self.batches, self.place, self.limit = batches, place, limit

    def __iter__(self) -> Iterator:
        seeded = Unpacked(self.batches) if isinstance(self.batches, DataLoader) else SeededStream(self.batches, self.place)
        return islice(self._mine(islice(seeded, self.limit)), self.place.skip, None)

    def _mine(self, batches: Iterator) -> Iterator:
        """Every ``world``-th batch; where all ranks are to get as many, only out of rounds that are complete.

        A single round that is not, because there are fewer batches than ranks, is filled up by repetition.
        """
        place = self.place
        for number in count():
            dealt = list(islice(batches, place.world))
            if place.even and 0 < len(dealt) < place.world:
                dealt = [dealt[i % len(dealt)] for i in range(place.world)] if number == 0 else []
            if len(dealt) <= place.rank:
                return
            yield dealt[place.rank]


@dataclass
class _WorkerStart:
    """Lets the main process alone answer signals, then does what the task's own worker start does."""

    then: Callable[[int], None] | None

    def __call__(self, worker: int) -> None:
        leave_to_the_main_process()
        info = get_worker_info()
        if isinstance(info.dataset, (SeededDataset, SeededStream)):
            vars(info)["dataset"] = info.dataset.dataset  # what the task's code expects to find there
        if self.then is not None:
            self.then(worker)


@dataclass
class _Own:
    """A loader with an ``__iter__`` of its own, read as it is; only its workers leave the signals to the main process."""

    loader: DataLoader

    def __iter__(self) -> Iterator:
        loader = copy.copy(self.loader)
        loader.worker_init_fn = _WorkerStart(loader.worker_init_fn)
        end_workers_at_exit()
        return iter(loader)


class _Loader(DataLoader):
    """Starts its workers while signals wait."""

    def __iter__(self) -> Iterator:
        with held_back():
            return super().__iter__()


def _rebuild(loader: DataLoader, dataset: Dataset, how: dict[str, Any], extract: Extract | None) -> DataLoader:
    workers = loader.num_workers
    if not isinstance(dataset, IterableDataset):  # the order of a stream depends on the number of its workers
        workers = min(workers, max(1, usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
    options: dict[str, Any] = {"prefetch_factor": loader.prefetch_factor} if workers else {}
    return _Loader(
        dataset,
        num_workers=workers,
        collate_fn=Packing(loader.collate_fn, extract) if workers else loader.collate_fn,
        pin_memory=loader.pin_memory and torch.cuda.is_available(),
        timeout=loader.timeout if workers else 0,
        worker_init_fn=_WorkerStart(loader.worker_init_fn),
        multiprocessing_context=loader.multiprocessing_context if workers else None,
        generator=torch.Generator(),  # keeps the loader off the global generator
        **how,
        **options,
    )


def _keys(order: list, batched: bool) -> list:
    """Turns indices into (index, repeat) keys."""
    seen: Counter = Counter()

    def key(index: Any) -> tuple[Any, int]:
        index = index.item() if isinstance(index, torch.Tensor) else index
        name = index if isinstance(index, int) else repr(index)  # a list of indices, which is read at once, cannot be counted itself
        seen[name] += 1
        return index, seen[name] - 1

    return [[key(i) for i in batch] for batch in order] if batched else [key(i) for i in order]


def _samplers(loader: DataLoader) -> list:
    inner = getattr(loader.batch_sampler, "sampler", None)
    return [s for s in (loader.sampler, loader.batch_sampler, inner) if s is not None]


def _reset_samplers(loader: DataLoader, place: Place) -> None:
    """Seeds the global generators and the samplers' own, and tells the samplers their epoch."""
    place.seed_order()
    for sampler in _samplers(loader):
        for generator in vars(sampler).values():
            _reseed(generator, torch.initial_seed())
        if hasattr(sampler, "set_epoch"):
            sampler.set_epoch(place.epoch)


def _reseed(generator: Any, seed: int) -> None:
    """Seeds a generator of torch, numpy or Python; anything else is left alone."""
    if isinstance(generator, torch.Generator):
        generator.manual_seed(seed)
    elif isinstance(generator, np.random.Generator):
        generator.bit_generator.state = type(generator.bit_generator)(seed).state
    elif isinstance(generator, np.random.RandomState):
        generator.seed(seed % 2**32)
    elif isinstance(generator, random.Random):
        generator.seed(seed)


def _is_distributed(loader: DataLoader) -> bool:
    """True if the task's sampler already deals its indices to the ranks."""
    return any(isinstance(s, DistributedSampler) or hasattr(s, "num_replicas") for s in _samplers(loader))
