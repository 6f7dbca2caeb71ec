"""Prints the page of a listening test on speech, for MTurk's design layout.

python3 template_speech.py N > page.html
"""

from __future__ import annotations

if __package__ in (None, ""):
    import _root  # noqa: F401

from downstream.audio_generation.mturk.pages import speech_page
from downstream.audio_generation.mturk.template import print_page
from utility.errors import program


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    return print_page(speech_page, __doc__, "recordings of digits, all of one method", argv)


if __name__ == "__main__":
    raise SystemExit(main())
