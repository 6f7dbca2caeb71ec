"""Prints the page of a listening test on speech, for MTurk's design layout.

python3 template_speech.py N > page.html
"""

from __future__ import annotations

if __package__ in (None, ""):
    import _root  # noqa: F401

import argparse

from downstream.audio_generation.mturk.pages import speech_page
from utility.errors import UsageError, program


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("n_samples", type=int, metavar="N", help="recordings of digits, all of one method")
    args = parser.parse_args(argv)
    if args.n_samples < 1:
        raise UsageError(f"N must be at least 1, not {args.n_samples}")
    print(speech_page(args.n_samples).html())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
