"""Keeps the rows of randomly drawn samples of a csv file; equal seeds draw the same ones.

python3 utils/subsample.py --original-path all.csv --out some.csv (--num-samples 1000 | --ratio 0.1) [--seed 1337]
"""

from __future__ import annotations

if __package__ in (None, ""):
    import _root  # noqa: F401

import argparse
import random
from pathlib import Path

from downstream.mos_prediction.preparation.tables import write_rows
from utility.errors import UsageError, program
from utility.text.files import rows_of


def drawn(path: Path, number: int, ratio: float, seed: int) -> list[dict[str, str]]:
    """The rows of the drawn samples, in order.

    Args:
        number: of samples; below 0: by ratio.
        ratio: share of the samples.

    Raises:
        DataError: the file is missing or has no ``sample_id``.
        UsageError: more samples than there are, or a ratio outside of 0 to 1.
    """
    rows = [row for _, row in rows_of(path, ("sample_id",))]
    names = list(dict.fromkeys(row["sample_id"] for row in rows))
    if not 0 < ratio <= 1:
        raise UsageError(f"--ratio must be above 0 and at most 1, not {ratio}")
    wanted = number if number >= 0 else int(ratio * len(names))
    if wanted > len(names):
        raise UsageError(f"--num-samples {wanted} is more than the {len(names)} samples of {path}")
    kept = set(random.Random(seed).sample(names, wanted))
    return [row for row in rows if row["sample_id"] in kept]


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--original-path", type=Path, required=True, help="the file")
    parser.add_argument("--out", type=Path, required=True, help="the file to write")
    parser.add_argument("--num-samples", type=int, default=-1, help="how many samples; by default --ratio decides")
    parser.add_argument("--ratio", type=float, default=1.0, help="share of the samples (default: 1)")
    parser.add_argument("--seed", type=int, default=1337, help="of the draw (default: 1337)")
    args = parser.parse_args(argv)
    rows = drawn(args.original_path, args.num_samples, args.ratio, args.seed)
    write_rows(args.out, rows, list(rows[0]) if rows else ["wav_path", "score", "system_id", "sample_id"])
    print(f"{args.out}: {len(rows)} rows of {len({row['sample_id'] for row in rows})} samples")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
