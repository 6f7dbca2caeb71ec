"""Loops that numba compiles."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numba


def compiled(function: Callable | None = None, **options: Any) -> Callable:
    """Compiled by numba at its first call; kept on disk where there is a folder to write into, in memory otherwise.

    Args:
        function: what to compile; None where the decorator has options.
        options: of ``numba.njit``, such as ``fastmath=True``.
    """
    if function is None:
        return partial(compiled, **options)
    try:
        return numba.njit(cache=True, nogil=True, **options)(function)
    except RuntimeError:
        return numba.njit(nogil=True, **options)(function)
