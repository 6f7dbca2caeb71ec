"""The order in which people count: 2.wav before 10.wav."""

from __future__ import annotations

import re


def natural(name: str) -> list[int | str]:
    """A key to sort names by: runs of digits are numbers, all else is text without case.

    Args:
        name: of a file, or any text; texts and numbers alternate in the key, so that all keys compare.
    """
    return [int(part) if part.isdecimal() else part.casefold() for part in re.split(r"(\d+)", name)]
