"""Which listed files are there."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from utility.errors import DataError


def missing_below(root: str | Path, paths: Iterable[str]) -> list[str]:
    """Those of ``paths`` (relative to ``root`` or absolute, with ``/`` between folders) that are not there; each folder is listed once.

    Raises:
        DataError: a folder cannot be read.
    """
    present: dict[str, frozenset[str]] = {}
    missing = []
    for path in paths:
        parent, slash, name = path.rpartition("/")
        if parent not in present:
            present[parent] = names_in(Path(root, parent + slash))
        if name not in present[parent]:
            missing.append(path)
    return missing


def names_in(folder: Path) -> frozenset[str]:
    """The names in a folder, none where there is no such folder.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries)
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
    except OSError as error:
        raise DataError(f"folder {folder} cannot be read: {error.strerror}") from error
