"""Prints the page of a listening test on music, for MTurk's design layout.

python3 template_music.py N > page.html
"""

from __future__ import annotations

if __package__ in (None, ""):
    import _root  # noqa: F401

import argparse

from downstream.audio_generation.mturk.pages import music_page
from utility.errors import UsageError, program


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("n_samples", type=int, metavar="N", help="recordings of music: one of each method and one of the data set")
    args = parser.parse_args(argv)
    if args.n_samples < 1:
        raise UsageError(f"N must be at least 1, not {args.n_samples}")
    print(music_page(args.n_samples).html())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
