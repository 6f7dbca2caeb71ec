"""SIGTERM and SIGINT ask a run to stop at its next step; the second of them ends it at once."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import FrameType

WATCHED = (signal.SIGTERM, signal.SIGINT)
WORKER_GRACE_SECONDS = 60


class StopRequest:
    """Remembers the signal while the context is active.

    Attributes:
        signal: number of the signal that came, 0 if none did.
    """

    def __init__(self) -> None:
        self.signal = 0
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        self._before = {number: signal.signal(number, self._remember) for number in WATCHED}
        return self

    def __exit__(self, *exception: object) -> None:
        self._restore()

    def __bool__(self) -> bool:
        return self.signal != 0

    @property
    def exit_status(self) -> int:
        """What a shell expects of a process ended by the signal."""
        return 128 + self.signal

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


@contextmanager
def held_back() -> Iterator[None]:
    """Keeps signals waiting while loader workers are started, so that none reaches a worker before :func:`leave_to_the_main_process`."""
    end_workers_at_exit()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@cache
def end_workers_at_exit() -> None:
    """Workers that an error has left behind would hold up the end of the process for as long as they answer signals later."""
    atexit.register(lambda: [child.kill() for child in multiprocessing.active_children()])


def leave_to_the_main_process() -> None:
    """For a loader worker: signals to the whole group (Ctrl-C, a scheduler's SIGTERM) are the main process's to answer.

    That one needs its workers to finish the step, and ends them itself. A SIGTERM still ends the worker, but only after a while; a second
    one, or one after the main process has gone, ends it at once.
    """
    parent = os.getppid()

    def end_later(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        if os.getppid() != parent:
            os.kill(os.getpid(), number)
        signal.alarm(WORKER_GRACE_SECONDS)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, end_later)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
