"""Loops that numba compiles."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import numba


def compiled(function: Callable | None = None, **options: Any) -> Callable:
    """Compiled by numba at its first call; kept on disk where there is a folder to write into, in memory otherwise.

    What is kept counts as long as no source in the function's folder changes: numba itself looks at the function's own file alone, and
    would go on with the former machine code of what the function calls. What it calls is part of its code (``forceinline``): a process that
    has just compiled both would otherwise call the function beside it, and one that loads it from disk the copy in there, and the two may
    differ in the last bit.

    Args:
        function: what to compile; None where the decorator has options.
        options: of ``numba.njit``, such as ``fastmath=True``.
    """
    if function is None:
        return partial(compiled, **options)
    options |= {"nogil": True, "forceinline": True}
    try:
        with _kept_in(_place(Path(inspect.getfile(function)).parent)):
            return numba.njit(cache=True, **options)(function)
    except RuntimeError:
        return numba.njit(**options)(function)


@cache
def _place(folder: Path) -> Path:
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return folder / "__pycache__" / f"numba-{digest.hexdigest()[:16]}"


@contextmanager
def _kept_in(place: Path) -> Iterator[None]:
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(Path(before) / place.name if before else place)  # a user's own folder stays that
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before
