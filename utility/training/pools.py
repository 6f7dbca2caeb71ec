"""Pools of threads or processes that end at once when something goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager


@contextmanager
def cancelling(pool: Executor) -> Iterator[None]:
    """Whatever ends its body early, Ctrl-C included, cancels what is queued, so that only what has begun is waited for."""
    try:
        yield
    except BaseException:
        pool.shutdown(cancel_futures=True)
        raise
