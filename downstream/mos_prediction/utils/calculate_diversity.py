"""Prints how far apart the recordings of a data set are: the mean squared Euclidean distance of pairs of their mean-pooled embeddings.

python3 utils/calculate_diversity.py -u wav2vec2 --csv data/bvcc_train.csv [--layer -1] [--embed_path bvcc.npz]
python3 utils/calculate_diversity.py --csv exp/mine-1337/datastore/checkpoint-best/datastore.h5

A line for each share of the data set, drawn at random; each draw holds the smaller ones. A pair is of two different recordings.
"""

from __future__ import annotations

if __package__ in (None, ""):
    import _root  # noqa: F401

import argparse
from pathlib import Path

import numpy as np

from downstream.mos_prediction.recipes.embeddings import add_source, cache_file, embeddings_of, source_of
from downstream.mos_prediction.recipes.summary import markdown
from utility.errors import program

PERCENT = (1, 2, 3, 4, 5, 10, 20, 25, 50, 100)


def mean_squared_distance(embeddings: np.ndarray) -> float | None:
    """Of all pairs of different rows of (N, D): 2 / (N - 1) times the summed squared distance from the mean; None below two rows."""
    if len(embeddings) < 2:
        return None
    centred = embeddings.astype(np.float64) - embeddings.mean(0, dtype=np.float64)
    return 2 * float(np.square(centred).sum()) / (len(embeddings) - 1)


def diversity(embeddings: np.ndarray, seed: int = 1337) -> list[tuple[int, int, float | None]]:
    """Percent, number of recordings and mean squared distance of random subsets of (N, D), the larger ones around the smaller ones."""
    shuffled = embeddings[np.random.default_rng(seed).permutation(len(embeddings))]
    counts = [round(len(shuffled) * percent / 100) for percent in PERCENT]
    return [(percent, count, mean_squared_distance(shuffled[:count])) for percent, count in zip(PERCENT, counts, strict=True)]


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_source(parser)
    parser.add_argument("--csv", type=Path, required=True, help="the data set, or a datastore of it (.h5, .npz)")
    parser.add_argument("--embed_path", type=Path, help="file to keep the embeddings in (.npz, .h5); read if it is there")
    parser.add_argument("--seed", type=int, default=1337, help="of the draw (default: 1337)")
    args = parser.parse_args(argv)
    store = embeddings_of(args.csv, source_of(args), cache_file(args.embed_path) if args.embed_path else None)
    found = diversity(store.embeddings, args.seed)
    rows = [[f"{percent} %", str(count), "undefined" if value is None else f"{value:.4f}"] for percent, count, value in found]
    print(markdown(["share", "recordings", "mean squared distance"], rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
