"""Writes a small synthetic corpus in the official layout of a real one, spoken by espeak-ng.

python3 preprocess/synthesize_corpus.py --corpus speech_commands --out data/synthetic
"""

from __future__ import annotations

if __package__ in (None, ""):
    import _root  # noqa: F401

import argparse
import time
from pathlib import Path

from preprocess.synthesis.corpora import CORPORA, synthesize
from utility.errors import program


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = "; ".join(f"{name} = {what}" for name, what in CORPORA.items())
    parser.add_argument("--corpus", required=True, metavar="NAME", help=names)
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder to write into; an interrupted run is continued")
    parser.add_argument("--size", default="small", help="tiny, small, medium, or the number of training speakers (default: small)")
    parser.add_argument("--seed", type=int, default=0, help="equal seeds give equal bytes (default: 0)")
    parser.add_argument("--jobs", type=int, default=None, help="processes (default: one per core)")
    parser.add_argument("--overwrite", action="store_true", help="replace a corpus that this program wrote there with other settings")
    parser.add_argument("--noises", type=Path, metavar="DIR", help="recorded noises to use as well (valentini only)")
    return parser.parse_args(argv)


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program.

    Returns:
        Exit status: 0, or 2 after an error of the user's.
    """
    args, start = arguments(argv), time.monotonic()
    synthesize(args.corpus, args.out, args.size, args.seed, args.jobs, args.overwrite, args.noises)
    files = sum(path.suffix in (".wav", ".flac") for path in args.out.rglob("*"))
    print(f"{args.corpus}: {files} audio files in {args.out} ({time.monotonic() - start:.0f} s)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
