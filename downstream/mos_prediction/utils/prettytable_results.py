"""Prints MOS-Bench's table of the results of a checkpoint, or of several checkpoints beside each other.

python3 utils/prettytable_results.py --dir exp/ssl-mos-wav2vec2-1337/results/checkpoint-best
python3 utils/prettytable_results.py --dir FIRST/results/checkpoint-best SECOND/results/checkpoint-best [--all_utt] [--measure LCC]

Of several, best-score difference and ratio are among these: for each test set the best of them counts as 0 and as 100 %.
"""

from __future__ import annotations

if __package__ in (None, ""):
    import _root  # noqa: F401

import argparse
from pathlib import Path

from downstream.mos_prediction.recipes.summary import print_comparison, print_summary
from utility.errors import program


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", nargs="+", required=True, type=Path, help="a folder with a folder for each test set")
    parser.add_argument("--measure", default="SRCC", choices=("MSE", "LCC", "SRCC", "KTAU"), help="of the comparison (default: SRCC)")
    parser.add_argument("--all_utt", action="store_true", help="utterance level for synthetic speech too")
    args = parser.parse_args(argv)
    if len(args.dir) == 1:
        print_summary(args.dir[0], args.all_utt)
    else:
        print_comparison({str(folder): folder for folder in args.dir}, args.measure, args.all_utt)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
