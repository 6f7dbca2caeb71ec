"""Single-threaded work on all cores.

PyTorch splits each operation over threads that wait for one another; beside another busy process, two such threads are many times slower
than one. Here each worker takes whole items and runs every operation in one thread, so results do not depend on the number of workers.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch.utils.data import get_worker_info

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Pools:
    """The pool of this process. A forked child inherits no threads, and perhaps a locked lock, so it begins anew."""

    def __init__(self):
        self.wanted: int | None = None
        self.forget()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        """No pool yet."""
        self.lock = threading.Lock()
        self.count = 0
        self.pool: ThreadPoolExecutor | None = None

    def of(self, count: int) -> ThreadPoolExecutor:
        """The pool of ``count`` threads; one of another size is let go."""
        with self.lock:
            if self.pool is None or self.count != count:
                self.pool, self.count = _started(count), count
            return self.pool


def use_threads(count: int | None) -> None:
    """Sets the number of workers of this process; None = as many as :func:`workers` finds fit."""
    _pools.wanted = count


def workers() -> int:
    """Threads to use: the process's share of the cores, at most ``OMP_NUM_THREADS`` where that is set, one in a data-loader worker."""
    if _pools.wanted is not None:
        return _pools.wanted
    if get_worker_info() is not None:
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(share, int(limit)) if limit.isdigit() and int(limit) > 0 else share


def in_threads(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """``[work(item) for item in items]`` in single-threaded workers; in the calling thread if that is single-threaded and one is enough."""
    count = workers()
    if count == 1 and torch.get_num_threads() == 1:
        return [work(item) for item in items]
    return list(_pools.of(count).map(work, items))


def _started(count: int) -> ThreadPoolExecutor:
    """A pool whose threads all run and have set themselves to one thread per operation.

    That setting is per thread, but it is also what threads born later begin with; so it is put back once all have it.
    """
    wanted = torch.get_num_threads()
    all_up = threading.Barrier(count + 1)
    pool = ThreadPoolExecutor(count, thread_name_prefix="features", initializer=_single, initargs=(all_up,))
    for _ in range(count):
        pool.submit(_nothing)
    all_up.wait()
    torch.set_num_threads(wanted)
    return pool


def _single(all_up: threading.Barrier) -> None:
    torch.set_num_threads(1)
    all_up.wait()


def _nothing() -> None:
    """Makes the pool start one more thread."""


_pools = _Pools()
