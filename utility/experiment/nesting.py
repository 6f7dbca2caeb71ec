"""Limits for what a file nests: values that hold one another twice, sixty levels deep, are a few hundred bytes and 2^60 steps to walk."""

from __future__ import annotations

from collections.abc import Iterable

from utility.errors import CheckpointError

MOST_TUPLES = 1 << 20  # within one tuple, counted as often as they occur
DEEPEST = 500
MOST_PARTS = 1 << 21  # of what is copied part by part


class Unreadable(Exception):  # noqa: N818 - turned into DamagedCheckpointError, which names the file
    """The graph does not make sense; the message completes "the file is ..."."""


Nest = tuple[int, int]
"""How many tuples there are in a value, as often as they occur, and how deep they lie in one another."""

LEAF: Nest = (0, 0)


def nest_of(members: Iterable[Nest]) -> Nest:
    """Of a tuple with these members. Hashing it takes as many steps, and as much of the machine's stack as it is deep.

    Raises:
        Unreadable: it is beyond what any checkpoint has.
    """
    count, depth = 1, 1
    for within, below in members:
        count, depth = count + within, max(depth, below + 1)
    if count > MOST_TUPLES or depth > DEEPEST:
        raise Unreadable(f"tuples within tuples, {depth} deep and {count} in all")
    return count, depth


class Parts:
    """Counts the parts of something while it is walked.

    Args:
        what: is walked, for the sentence.
    """

    def __init__(self, what: str):
        self.what, self.left = what, MOST_PARTS

    def one_more(self) -> None:
        """Raises CheckpointError beyond :data:`MOST_PARTS`."""
        self.left -= 1
        if self.left < 0:
            raise CheckpointError(f"{self.what} have more than {MOST_PARTS} parts, which hold one another again and again")
