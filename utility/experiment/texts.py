"""Small text files that are whole or not there at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path


def write_whole(path: Path, write: Callable[[Path], object]) -> Path:
    """Writes a file by way of a temporary one beside it, so that it is there whole or not at all.

    Args:
        path: the file.
        write: writes the file whose path it is given.

    Raises:
        OSError: as the system gives it, with the name of the file.
    """
    partial = path.with_name(f".{path.name[:40]}.tmp-{os.getpid()}-{secrets.token_hex(4)}")  # a name that just fits leaves no room
    try:
        write(partial)
        return partial.replace(path)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        with contextlib.suppress(OSError):  # on a disk that takes nothing there is nothing to remove
            partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> Path:
    """:func:`write_whole` of a text."""
    return write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"))
