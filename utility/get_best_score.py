"""Prints the best score of one split in a ``log.log`` and the score of another split at the same step.

    python3 utility/get_best_score.py LOG [RANK TARGET [+|-]]        defaults: dev test +

Unlike ``get_best_dev.py`` it compares the scores itself: RANK is the split that decides, TARGET the one reported beside it, ``+`` means
that higher is better and ``-`` that lower is. Both kinds of log lines are read; a split is named by a part of its name.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

if __package__ in (None, ""):
    import _root  # noqa: F401

from utility.errors import DataError, program
from utility.get_best_dev import Line, read_log, sentence


def best_score(lines: list[Line], rank: str = "dev", target: str = "test", higher: bool = True) -> tuple[Line | None, Line | None]:
    """The first line of split ``rank`` with the best score, and the line of split ``target`` logged with it.

    A step that a resume logged twice is paired with the nearest target line that follows, else with the last one before.

    Raises:
        DataError: a score of ``rank`` is not a number.
    """
    best, at, top = None, -1, -math.inf
    for index, line in enumerate(lines):
        if rank not in line.split:
            continue
        score = _number(line) if higher else -_number(line)
        if score > top:
            best, at, top = line, index, score
    if best is None:
        return None, None
    same_step = [i for i, line in enumerate(lines) if target in line.split and line.step == best.step and i != at]
    after = [i for i in same_step if i > at]
    chosen = after[:1] or same_step[-1:]
    return best, lines[chosen[0]] if chosen else None


def _number(line: Line) -> float:
    try:
        return float(line.value)
    except ValueError:
        raise DataError(f"the score {line.value!r} of {line.split} at step {line.step} is not a number") from None


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    parser = argparse.ArgumentParser(description="print the best score of one split of a log.log, and another split's at the same step")
    parser.add_argument("log", type=Path, help="the log.log of an experiment, or the experiment's folder")
    parser.add_argument("rank", nargs="?", default="dev", help="the split whose score decides (default: dev)")
    parser.add_argument("target", nargs="?", default="test", help="the split reported beside it (default: test)")
    parser.add_argument("direction", nargs="?", default="+", choices=["+", "-"], help="+: higher is better (default), -: lower is")
    args = parser.parse_args(argv)
    print(sentence(*best_score(read_log(args.log), args.rank, args.target, args.direction == "+")))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
