"""Prints the agreement of predictions with scores, by utterance and by system.

python3 utils/calculate_metrics.py --csv results.csv [--answer_column answer] [--gt_column avg_score]
"""

from __future__ import annotations

if __package__ in (None, ""):
    import _root  # noqa: F401

import argparse

from downstream.mos_prediction.recipes.summary import metrics_of
from utility.errors import program
from utility.metrics.mos import log_line


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", required=True, help="with system_id and the two columns; an undefined number is printed as nan")
    parser.add_argument("--answer_column", default="answer", help="the predictions (default: answer)")
    parser.add_argument("--gt_column", default="avg_score", help="the scores of listeners (default: avg_score)")
    args = parser.parse_args(argv)
    print(log_line(metrics_of(args.csv, args.answer_column, args.gt_column)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
