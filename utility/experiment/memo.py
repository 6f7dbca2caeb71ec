"""What a pickle would cost to read, seen before it is read.

A pickle numbers the values that it refers to again. Python's unpickler makes room for the largest number that it meets, so that one flipped
bit of a small file asks for gigabytes and many seconds of filling them. And it hashes the keys of dicts: of tuples that hold one another
twice, sixty levels deep, that is 2^60 steps for a file of a few hundred bytes.
"""

from __future__ import annotations

import pickletools
from typing import IO

from utility.experiment.nesting import LEAF, Nest, Unreadable, nest_of

_SLACK = 1 << 16  # numbers may have gaps; this many cost nothing
_PUTS = ("PUT", "BINPUT", "LONG_BINPUT")
_GETS = ("GET", "BINGET", "LONG_BINGET")
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MARK: Nest = (-1, -1)


def _effect(opcode: pickletools.OpcodeInfo) -> tuple[bool, int, int]:
    """Whether all down to a mark is taken, how many values are taken besides, how many come."""
    before = opcode.stack_before
    marked = pickletools.markobject in before
    return marked, before.index(pickletools.markobject) if marked else len(before), len(opcode.stack_after)


_EFFECTS = {opcode.name: _effect(opcode) for opcode in pickletools.opcodes}


def check_memo(file: IO[bytes]) -> None:
    """Looks through the pickle that starts here and returns to its start.

    What cannot be parsed is left to the unpickler, which says better what is wrong.

    Raises:
        Unreadable: a value is given a number far beyond the count of values, or a tuple holds others too many times.
    """
    start, stack = file.tell(), _Stack()
    try:
        for values, (opcode, number, position) in enumerate(pickletools.genops(file)):
            if opcode.name in _PUTS and number > values + _SLACK:
                raise Unreadable(f"the number {number} for a value at byte {position}")
            stack.run(opcode.name, number)
    except (ValueError, IndexError):
        return
    finally:
        file.seek(start)


class _Stack:
    """The unpickler's stack with the nest of each value in its place."""

    def __init__(self) -> None:
        self.values: list[Nest] = []
        self.memo: dict[int, Nest] = {}

    def run(self, name: str, number: int | None) -> None:
        """Does what an opcode does.

        Raises:
            Unreadable: it makes a tuple of too many; IndexError: it takes what is not there.
        """
        if name in _PUTS or name == "MEMOIZE":
            self.memo[len(self.memo) if number is None else number] = self.values[-1]
        elif name in _GETS:
            self.values.append(self.memo.get(number, LEAF))
        elif name == "DUP":
            self.values.append(self.values[-1])
        elif name == "MARK":
            self.values.append(_MARK)
        elif name in _TUPLES:
            self.values.append(nest_of([self.values.pop() for _ in range(_TUPLES[name])]))
        elif name in ("TUPLE", "FROZENSET"):
            self.values.append(nest_of(self._down_to_mark()))
        else:
            self._other(*_EFFECTS[name])

    def _other(self, marked: bool, taken: int, given: int) -> None:
        if marked:
            self._down_to_mark()
        for _ in range(taken):
            self.values.pop()
        self.values.extend([LEAF] * given)

    def _down_to_mark(self) -> list[Nest]:
        members = []
        while (value := self.values.pop()) != _MARK:
            members.append(value)
        return members
