"""Scores of many pairs of waveforms, in processes beside this one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.context import BaseContext

import numpy as np
from threadpoolctl import threadpool_limits

from utility.errors import DataError
from utility.metrics.enhancement.pair import require, score_pair
from utility.training.pools import cancelling
from utility.training.signals import held_back, leave_to_the_main_process

_WORTH_PROCESSES = 12  # pairs; below, starting the processes takes longer than the scores
_AHEAD = 4  # pairs for each process that are kept in memory


@dataclass(frozen=True)
class Pair:
    """What is compared.

    Args:
        name: of the recording, for messages.
        reference: the clean waveform, (n,) float32.
        estimate: the enhanced one, (n,) float32.
    """

    name: str
    reference: np.ndarray
    estimate: np.ndarray


def score_pairs(pairs: Iterable[Pair], rate: int, names: Sequence[str], processes: int | None = None) -> Iterator[dict[str, float]]:
    """The scores of each pair, in order, as soon as they are there; the pairs are drawn a few ahead and never all in memory.

    Args:
        pairs: waveforms at ``rate``.
        rate: in Hz.
        names: of :data:`~utility.metrics.enhancement.pair.METRICS`.
        processes: how many work; the cores that this process may use by default. One: all is done in this process.

    Raises:
        As :func:`~utility.metrics.enhancement.pair.score_pair`, with the name of the pair.
    """
    require(names)
    pairs = iter(pairs)
    first = list(islice(pairs, _WORTH_PROCESSES))
    processes = _cores() if processes is None else processes
    if processes <= 1 or len(first) < _WORTH_PROCESSES:
        for pair in chain(first, pairs):
            yield _score(pair, rate, names)
        return
    pool = ProcessPoolExecutor(processes, mp_context=_context(), initializer=_begin)
    with pool, cancelling(pool):
        waiting: deque[Future] = deque()
        for pair in chain(first, pairs):
            with held_back():
                waiting.append(pool.submit(_score, pair, rate, names))
            if len(waiting) >= _AHEAD * processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _score(pair: Pair, rate: int, names: Sequence[str]) -> dict[str, float]:
    try:
        return score_pair(pair.reference, pair.estimate, rate, names)
    except DataError as error:
        raise DataError(f"{pair.name}: {error}") from error


def _begin() -> None:
    """A process of the pool leaves signals to its parent and computes with one thread."""
    leave_to_the_main_process()
    threadpool_limits(1)


def _context() -> BaseContext:
    """Processes come from a server that has the packages loaded, so that only the first pool of a run waits for them."""
    if "forkserver" not in get_all_start_methods():
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload(["__main__", "utility.metrics.enhancement", "pystoi", "pesq"])
    return context


def _cores() -> int:
    from utility.training.loading import usable_cores  # here, so that the processes need not import torch

    return usable_cores()
