"""Draws where the recordings of data sets lie: t-SNE of their mean-pooled embeddings, a colour for each set.

python3 utils/plot_embeddings.py --csv a.csv b.csv -u wav2vec2 --out embeddings.png [--names bvcc somos]
python3 utils/plot_embeddings.py --csv exp/mine-1337/datastore/checkpoint-best/datastore.h5 --domains bvcc nisqa --out embeddings.png

t-SNE keeps near what is near; distances between groups, and how large a group is, say little.
"""

from __future__ import annotations

if __package__ in (None, ""):
    import _root  # noqa: F401

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from downstream.mos_prediction.neighbours import Datastore
from downstream.mos_prediction.recipes.embeddings import add_source, cache_file, embeddings_of, source_of
from downstream.mos_prediction.recipes.pictures import draw_points
from utility.errors import DataError, UsageError, program

PERPLEXITY = 30.0
LEAST = 4  # recordings


def by_domain(store: Datastore, names: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """(N, D) embeddings of each data set of a pool's datastore, by the given names of the sets or their numbers.

    Raises:
        DataError: an entry is not of a pool, or of a set without a name.
    """
    domains = np.array([store.domain_of(entry) for entry in range(len(store.names))])
    if names and domains.max() >= len(names):
        raise DataError(f"the datastore has the data set {domains.max()}, and --domains has names of 0 to {len(names) - 1}")
    return {names[number] if names else str(number): store.embeddings[domains == number] for number in np.unique(domains)}


def drawn(sets: Mapping[str, np.ndarray], most: int, seed: int) -> dict[str, np.ndarray]:
    """At most so many rows of each set, at random, in order."""
    generator = np.random.default_rng(seed)
    return {name: own[np.sort(generator.permutation(len(own))[:most])] for name, own in sets.items()}


def projected(sets: Mapping[str, np.ndarray], perplexity: float = PERPLEXITY, seed: int = 1337) -> dict[str, np.ndarray]:
    """(N, D) -> (N, 2) of each set, all sets together; few points have a smaller perplexity, a third of their number.

    Raises:
        DataError: the sets have embeddings of several widths, or too few.
    """
    from sklearn.manifold import TSNE

    if len(widths := {own.shape[1] for own in sets.values()}) > 1:
        raise DataError(f"the sets have embeddings of {' and '.join(map(str, sorted(widths)))} numbers: they are of different upstreams")
    together = np.concatenate(list(sets.values())).astype(np.float64)
    if len(together) < LEAST:
        raise DataError(f"there are {len(together)} recordings; t-SNE needs {LEAST}")
    net = TSNE(perplexity=min(perplexity, (len(together) - 1) / 3), init="pca", random_state=seed)
    points, ends = net.fit_transform(together - together.mean(0)), np.cumsum([len(own) for own in sets.values()])[:-1]
    return dict(zip(sets, np.split(points, ends), strict=True))


def sets_of(args: argparse.Namespace) -> dict[str, np.ndarray]:
    """The embeddings of each set that the options name.

    Raises:
        UsageError: names that do not fit.
    """
    if args.domains is not None:
        if len(args.csv) > 1:
            raise UsageError("--domains is for the datastore of one pool")
        return by_domain(embeddings_of(args.csv[0], source_of(args)), args.domains)
    names = args.names or [_short(path) for path in args.csv]
    if len(names) != len(args.csv) or len(set(names)) < len(names):
        raise UsageError(f"--names must be {len(args.csv)} different names, one for each file: {', '.join(names)}")
    source, own = source_of(args), args.embed_path
    caches = [cache_file(own.with_name(f"{own.stem}-{name}{own.suffix}")) if own else None for name in names]
    return {name: embeddings_of(path, source, cache).embeddings for name, path, cache in zip(names, args.csv, caches, strict=True)}


def _short(path: Path) -> str:
    """A file's name; a recipe's datastores all have the same, so theirs is that of the training."""
    return path.parts[-4] if path.name == "datastore.h5" and len(path.parts) > 3 else path.stem


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_source(parser)
    parser.add_argument("--csv", type=Path, nargs="+", required=True, help="csv files, or datastores of them (.h5, .npz)")
    parser.add_argument("--names", nargs="+", help="of the files (default: their own)")
    parser.add_argument("--domains", nargs="*", help="the sets are those of one pool's datastore, with these names or their numbers")
    parser.add_argument("--embed_path", type=Path, help="keep the embeddings of NAME in STEM-NAME.npz (or .h5) of this path; read if there")
    parser.add_argument("--out", type=Path, default=Path("embeddings.png"), help="the picture (default: embeddings.png)")
    parser.add_argument("--perplexity", type=float, default=PERPLEXITY, help=f"of t-SNE (default: {PERPLEXITY:g})")
    parser.add_argument("--max_points", type=int, default=1000, help="of each set, drawn at random (default: 1000)")
    parser.add_argument("--seed", type=int, default=1337, help="of draw and t-SNE (default: 1337)")
    args = parser.parse_args(argv)
    if args.perplexity <= 0 or args.max_points < 1:
        raise UsageError("--perplexity and --max_points must be above 0")
    draw_points(args.out, projected(drawn(sets_of(args), args.max_points, args.seed), args.perplexity, args.seed))
    print(args.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
