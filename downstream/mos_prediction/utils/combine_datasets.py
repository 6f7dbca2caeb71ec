"""Joins csv files, one after the other; --pool tells their samples, systems and domains apart as pooled recipes do.

python3 utils/combine_datasets.py --original-paths a.csv b.csv --out both.csv [--pool]
"""

from __future__ import annotations

if __package__ in (None, ""):
    import _root  # noqa: F401

import argparse
from collections.abc import Sequence
from pathlib import Path

from downstream.mos_prediction.preparation.tables import POOLED, pool, write_rows
from utility.errors import program
from utility.text.files import rows_of


def joined(paths: Sequence[Path]) -> tuple[list[dict[str, str]], list[str]]:
    """All rows, and all columns in the order of their first file; what a file lacks stays empty.

    Raises:
        DataError: a file is missing or has no ``wav_path``.
    """
    rows = [row for path in paths for _, row in rows_of(path, ("wav_path",))]
    return rows, list(dict.fromkeys(column for row in rows for column in row if column))


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--original-paths", nargs="+", type=Path, required=True, help="the files, in order")
    parser.add_argument("--out", type=Path, required=True, help="the file to write")
    parser.add_argument("--pool", action="store_true", help="write domain_idx, and ids with the number of the file before them")
    args = parser.parse_args(argv)
    rows, columns = (pool(args.original_paths), POOLED) if args.pool else joined(args.original_paths)
    write_rows(args.out, rows, columns)
    print(f"{args.out}: {len(rows)} rows")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
