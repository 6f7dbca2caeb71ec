"""Memo indexes of a pickle before it is read.

A pickle numbers the values that it refers to again. Python's unpickler makes room for the largest number that it meets, so that one flipped
bit of a small file asks for gigabytes and many seconds of filling them.
"""

from __future__ import annotations

import pickletools
from typing import IO

from utility.experiment.rebuild import Unreadable

_PUTS = ("PUT", "BINPUT", "LONG_BINPUT")
_SLACK = 1 << 16  # numbers may have gaps; this many cost nothing


def check_memo(file: IO[bytes]) -> None:
    """Looks through the pickle that starts here and returns to its start.

    What cannot be parsed is left to the unpickler, which says better what is wrong.

    Raises:
        Unreadable: a value is given a number far beyond the count of values.
    """
    start = file.tell()
    try:
        for values, (opcode, number, position) in enumerate(pickletools.genops(file)):
            if opcode.name in _PUTS and number > values + _SLACK:
                raise Unreadable(f"the number {number} for a value at byte {position}")
    except ValueError:
        return
    finally:
        file.seek(start)
