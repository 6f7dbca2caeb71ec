"""What the programs that print pages for MTurk's design layout have in common."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from downstream.audio_generation.mturk.pages import Page
from utility.errors import UsageError


def print_page(page: Callable[[int], Page], description: str, recordings: str, argv: list[str] | None) -> int:
    """Prints the page of as many recordings as the command line says; returns the exit status.

    Args:
        page: of so many recordings.
        description: of the program.
        recordings: which recordings N counts.
        argv: the words of the command line.

    Raises:
        UsageError: none are no page.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("n_samples", type=int, metavar="N", help=recordings)
    args = parser.parse_args(argv)
    if args.n_samples < 1:
        raise UsageError(f"N must be at least 1, not {args.n_samples}")
    print(page(args.n_samples).html())
    return 0
