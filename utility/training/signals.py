"""SIGTERM and SIGINT ask a run to stop at its next step; the second of them ends it at once."""

from __future__ import annotations

import signal
from types import FrameType


class StopRequest:
    """Remembers the signal while the context is active.

    Attributes:
        signal: number of the signal that came, 0 if none did.
    """

    WATCHED = (signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        self.signal = 0
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        self._before = {number: signal.signal(number, self._remember) for number in self.WATCHED}
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
