"""Draws which training set of a pool each test set's recordings are nearest to, from results of inference by domain_id_knn_1.

python3 utils/draw_retrieval_id_heatmap.py --dir exp/mine-1337/results/np_checkpoint-best/domain_id_knn_1 --out heatmap.png

Each row is a test set, each column a training set; numbers are percent of the test set. The same is printed as a table. Inside the folder
of a pooled recipe columns have the names of its sets, elsewhere --names gives them in the pool's order; without, they are numbers.
"""

from __future__ import annotations

if __package__ in (None, ""):
    import _root  # noqa: F401

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from downstream.mos_prediction.preparation.recipe import FILE, read_recipe
from downstream.mos_prediction.recipes.pictures import draw_shares
from downstream.mos_prediction.recipes.summary import RESULTS, in_order, markdown
from utility.errors import DataError, program
from utility.text.files import rows_of


def retrieved(folders: Sequence[Path]) -> dict[str, Counter[int]]:
    """How many recordings of each test set were nearest to each training set, in MOS-Bench's order.

    Args:
        folders: with a folder for each test set.

    Raises:
        DataError: there are no results, or they are not of ``domain_id_knn_1``.
    """
    found = {path.parent.name: path for folder in folders for path in sorted(folder.glob(f"*/{RESULTS}"))}
    if not found:
        raise DataError(f"{', '.join(map(str, folders))}: no */{RESULTS} there")
    return {name: _counted(found[name]) for name in in_order(found)}


def _counted(path: Path) -> Counter[int]:
    counts: Counter[int] = Counter()
    for line, row in rows_of(path, (), "results"):
        if "retrieved_id" not in row:
            raise DataError(f"results {path} has no column 'retrieved_id', which inference by domain_id_knn_1 writes")
        if not row["retrieved_id"].isdecimal():
            raise DataError(f"results {path}, line {line}: {row['retrieved_id']!r} is no number of a training set")
        counts[int(row["retrieved_id"])] += 1
    if not counts:
        raise DataError(f"results {path} has no row")
    return counts


def shares_of(counts: Mapping[str, Counter[int]], names: Sequence[str] = ()) -> tuple[list[str], np.ndarray]:
    """The training sets, and (test sets, training sets) shares whose rows sum to one.

    Raises:
        DataError: a training set has no name.
    """
    last = max(max(own) for own in counts.values())
    if names and last >= len(names):
        raise DataError(f"training set {last} was retrieved, and there are names of 0 to {len(names) - 1}: {', '.join(names)}")
    columns = list(names) or [str(number) for number in range(last + 1)]
    shares = np.array([[own[number] / own.total() for number in range(len(columns))] for own in counts.values()])
    return columns, shares


def pool_here() -> list[str]:
    """The training sets of the pooled recipe in the working directory, in its order; none elsewhere."""
    paths = read_recipe(Path.cwd()).pool.get("train", ()) if Path(FILE).is_file() else ()
    return [Path(path).parts[-3] for path in paths]


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", nargs="+", type=Path, required=True, help="folders with a folder for each test set")
    parser.add_argument("--names", nargs="+", help="of the training sets, in the pool's order")
    parser.add_argument(
        "--out", type=Path, default=Path("retrieval_id_heatmap.png"), help="the picture (default: retrieval_id_heatmap.png)"
    )
    args = parser.parse_args(argv)
    counts = retrieved(args.dir)
    columns, shares = shares_of(counts, args.names or pool_here())
    draw_shares(args.out, list(counts), columns, shares)
    print(
        markdown(
            ["test set", *columns], [[name, *(f"{100 * share:.1f}" for share in row)] for name, row in zip(counts, shares, strict=True)]
        )
    )
    print(args.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
