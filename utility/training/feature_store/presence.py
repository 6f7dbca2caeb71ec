"""Which processes use a folder: each holds a lock on a file of its own, which dies with it however it ends."""

from __future__ import annotations

import fcntl
import os
import secrets
import weakref
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_held: dict[Path, int] = {}  # by process, since a fork inherits the table but not the locks


@dataclass(frozen=True)
class Live:
    """The processes that live.

    Args:
        names: of their files.
        since: when the first of them began, by the clock of the file system; infinity without any.
        died: whether some had ended without a farewell.
    """

    names: frozenset[str]
    since: float
    died: bool


class Presence:
    """Marks this process as a user of ``folder`` for as long as the object lives. To be made, and :func:`living` asked, under one lock.

    Raises:
        OSError: the folder cannot be written to.
    """

    def __init__(self, folder: Path):
        self.path = folder / f"{os.getpid()}-{secrets.token_hex(8)}"
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _held[self.path] = os.getpid()
        self.leave = weakref.finalize(self, _leave, self.path, handle, os.getpid())

    @property
    def name(self) -> str:
        return self.path.name


def _leave(path: Path, handle: int, process: int) -> None:
    if os.getpid() == process:
        _held.pop(path, None)
        with suppress(OSError):
            path.unlink(missing_ok=True)
    os.close(handle)


def living(folder: Path) -> Live:
    """Who uses the folder; the files of the dead are removed."""
    names, since, died = set(), float("inf"), False
    for path in sorted(folder.iterdir()):
        if _lives(path):
            names.add(path.name)
            since = min(since, path.stat().st_mtime)
        else:
            path.unlink(missing_ok=True)
            died = True
    return Live(frozenset(names), since, died)


def _lives(path: Path) -> bool:
    if path in _held and _held[path] == os.getpid():
        return True  # to open and close it would free our own lock
    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return True
    finally:
        os.close(handle)
    return False
