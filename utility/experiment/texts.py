"""Small text files that are whole or not there at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def write_text(path: Path, text: str) -> Path:
    """Writes a file by way of a temporary one beside it.

    Raises:
        OSError: as the system gives it, with the name of the file.
    """
    partial = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        return partial.replace(path)
    except OSError as error:
        error.filename = str(path)
        with contextlib.suppress(OSError):  # on a disk that takes nothing there is nothing to remove
            partial.unlink(missing_ok=True)
        raise
