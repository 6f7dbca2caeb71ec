"""Scores speaker turns as dscore and md-eval do: diarization and Jaccard error rate, percent, and the seconds behind them.

python3 utility/score_diarization.py -r ref.rttm -s sys.rttm [-u regions.uem] [--collar 0.25] [--ignore_overlaps]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if __package__ in (None, ""):
    import _root  # noqa: F401

from utility.errors import DataError, UsageError, program

if TYPE_CHECKING:
    from utility.metrics.diarization import DiarizationScore
    from utility.metrics.rttm import Turns

COLUMNS = ("File", "DER", "JER", "SCORED", "MISS", "FA", "ERROR")
OVERALL = "*** OVERALL ***"


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    args = arguments(argv)
    if not 0 <= args.collar < float("inf"):
        raise UsageError(f"--collar must be a number of seconds, 0 or more, not {args.collar}")
    from utility.metrics.diarization import score_recordings
    from utility.metrics.rttm import read_uem

    references, systems = together(args.reference, empty=False), together(args.system, empty=True)
    regions = read_uem(args.uem) if args.uem else None
    check_names(set(references), set(systems), set(regions) if regions else None)
    print(table(score_recordings(references, systems, regions, args.collar, args.ignore_overlaps)), end="")
    return 0


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-r", "--reference", type=Path, nargs="+", required=True, metavar="RTTM", help="the truth")
    parser.add_argument("-s", "--system", type=Path, nargs="+", required=True, metavar="RTTM", help="what is scored")
    parser.add_argument("-u", "--uem", type=Path, help="regions to score; from the first to the last turn of both by default")
    parser.add_argument(
        "--collar", type=float, default=0.0, help="seconds around each boundary of the truth that do not count (default: 0)"
    )
    parser.add_argument("--ignore_overlaps", action="store_true", help="leave out where the truth has several speakers")
    return parser.parse_args(argv)


def together(paths: list[Path], empty: bool) -> Turns:
    """The turns of several files, each recording being in one of them.

    Raises:
        DataError: a file cannot be read, or two have the same recording.
    """
    from utility.metrics.rttm import read_rttm

    found: Turns = {}
    for path in paths:
        for name, speakers in read_rttm(path, empty).items():
            if name in found:
                raise DataError(f"the recording {name!r} is in two files, one of them {path}")
            found[name] = speakers
    return found


def check_names(references: set[str], systems: set[str], regions: set[str] | None) -> None:
    """Warns of recordings that one side lacks.

    Raises:
        DataError: the system answers, but no recording of the reference.
    """
    if systems and not references & systems:
        one, other = min(systems), min(references)
        raise DataError(f"reference and system have no recording in common: {other!r} and {one!r} are the first of each")
    if regions is not None and not regions & references:
        raise DataError(f"the regions (UEM) name no recording of the reference; their first is {min(regions)!r}")
    for names, what in ((references - systems, "the system has no turn in"), (systems - references, "the reference has no turn in")):
        if names:
            print(f"{what} {len(names)} of the recordings, the first being {min(names)!r}", file=sys.stderr)


def table(scores: dict[str, DiarizationScore]) -> str:
    """One line per recording and the overall one, in columns."""
    from utility.metrics.diarization import pooled

    rows = [_row(name, score) for name, score in scores.items()] + [_row(OVERALL, pooled(scores.values()))]
    widths = [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=True)]
    lines = [COLUMNS, tuple("-" * width for width in widths), *rows]
    return "".join(
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))]) + "\n"
        for line in lines
    )


def _row(name: str, score: DiarizationScore) -> tuple[str, ...]:
    rates = (100 * score.der, 100 * score.jer)
    return (
        name,
        *(f"{rate:.2f}" for rate in rates),
        *(f"{seconds:.3f}" for seconds in (score.scored, score.missed, score.false_alarm, score.confusion)),
    )


if __name__ == "__main__":
    raise SystemExit(main())
