"""Which processes a command has left behind; read from /proc."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


def of_session(session: int) -> list[int]:
    """Ids of the live processes of a session."""
    return [pid for pid, fields in _processes() if int(fields[3]) == session]


def with_variable(marker: str) -> list[int]:
    """Ids of the live processes that were started with ``marker`` (``NAME=value``) in their environment."""
    found = []
    for pid, _ in _processes():
        try:
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:  # it has ended
            continue
        if marker.encode() in variables:
            found.append(pid)
    return found


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Polls; the limit only keeps a broken program from hanging the tests."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.01)


def _processes() -> list[tuple[int, list[str]]]:
    """``(pid, fields of /proc/pid/stat after the name)`` of everything that is alive."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(") ")[2].split()
        except OSError:  # it has ended
            continue
        if fields[0] not in "ZX":
            found.append((int(entry.name), fields))
    return found
