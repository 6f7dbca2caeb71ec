"""Makes the batches of a listening test out of one folder of recordings for each method.

python3 turk_create_batch.py --condition NAME --input_dir path/to/NAME --output_dir final --methods first second test --batch_size 1
"""

from __future__ import annotations

if __package__ in (None, ""):
    import _root  # noqa: F401

import argparse
from pathlib import Path

from downstream.audio_generation.mturk.batches import URL, plan, recordings_of, write
from utility.errors import program


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--condition", required=True, help="name of the experiment and of the folder that is made in --output_dir")
    parser.add_argument("--input_dir", required=True, type=Path, help="has a folder of wav files for each method, with the same names")
    parser.add_argument("--output_dir", required=True, type=Path)
    parser.add_argument("--methods", required=True, nargs="+", metavar="METHOD", help="names of the folders")
    parser.add_argument("--batch_size", type=int, default=1, help="recordings of each method that a rater hears together (default: 1)")
    parser.add_argument(
        "--url_templ", default=URL, help="address of a recording; {} stand for condition, batch and uid (default: %(default)s)"
    )
    args = parser.parse_args(argv)
    names = recordings_of(args.input_dir, args.methods)
    batches = plan(args.condition, names, args.methods, args.batch_size, args.url_templ)
    write(batches, args.input_dir, args.output_dir / args.condition)
    print(f"{len(batches.names)} batches of {len(batches.urls[0])} recordings: {args.output_dir / args.condition}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
