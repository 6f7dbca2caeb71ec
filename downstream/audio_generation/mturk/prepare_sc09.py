"""Chooses, for each digit, the generated recordings that a classifier is surest of.

    python3 run_downstream.py -m evaluate -t samples -e CLASSIFIER -o "...samples.dir=samples/sc09/2048-mine,,...samples.save_probs=True"
    python3 prepare_sc09.py --methods mine

The chosen ones are copied as 0.wav, 1.wav ...: with 50 for each digit 0 to 49 are zeros, 50 to 99 ones, and so on.
"""

from __future__ import annotations

if __package__ in (None, ""):
    import _root  # noqa: F401

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from downstream.blocks.sc09 import DIGITS
from utility.audio.io import wavs_in
from utility.errors import DataError, UsageError, program
from utility.experiment.arrays import read_table
from utility.metrics.generation.inception import checked


def chosen(probabilities: np.ndarray, per_class: int) -> list[int]:
    """Rows of the table, digit by digit, in ascending order within a digit.

    Args:
        probabilities: (n, 10).
        per_class: how many of each; the most probable among those whose most probable digit it is.

    Raises:
        DataError: too few of a digit.
    """
    said, rows = probabilities.argmax(axis=1), []
    for digit, name in enumerate(DIGITS):
        own = np.flatnonzero(said == digit)
        if len(own) < per_class:
            raise DataError(f"only {len(own)} of {len(said)} recordings are taken for {name!r}; {per_class} are needed")
        surest = own[np.argsort(-probabilities[own, digit], kind="stable")[:per_class]]
        rows += sorted(surest.tolist())
    return rows


def prepare(method: str, args: argparse.Namespace) -> Path:
    """Copies the chosen recordings of one method; returns their folder.

    Raises:
        DataError: the folder exists, files are missing, or probabilities and recordings are not equally many.
    """
    target = args.target_dir / method
    if target.exists():
        raise DataError(f"{target} exists already")
    source, name = args.sample_dir / f"{args.n_samples}-{method}", f"{args.n_samples}-{method}-resnext-probs.npy"
    table, files = read_table(args.cache_dir / name), wavs_in(source)
    if not files:
        raise DataError(f"there are no wav files in {source}")
    if table.shape != (len(files), len(DIGITS)):
        raise DataError(
            f"{args.cache_dir / name} is a table of {table.shape}, but {source} holds {len(files)} recordings of {len(DIGITS)} digits"
        )
    try:
        checked(table)
    except DataError as error:
        raise DataError(f"{args.cache_dir / name}: {error}") from None
    try:
        rows = chosen(table, args.samples_per_class)
    except DataError as error:
        raise DataError(f"{source}: {error}") from None
    copy([files[row] for row in rows], target)
    return target


def copy(files: Sequence[Path], target: Path) -> None:
    """Copies files as 0.wav, 1.wav ...; the folder appears when all are there."""
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for number, path in enumerate(files):
        shutil.copyfile(path, partial / f"{number}.wav")
    partial.replace(target)


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", required=True, nargs="+", metavar="METHOD")
    parser.add_argument("--cache_dir", type=Path, default="../sc09_classifier/cache/", help="holds N-METHOD-resnext-probs.npy")
    parser.add_argument("--sample_dir", type=Path, default="../samples/sc09/", help="holds the folders N-METHOD of recordings")
    parser.add_argument("--target_dir", type=Path, default="sc09/sc09-unconditional-exp-confident-repro/")
    parser.add_argument("--n_samples", type=int, default=2048, metavar="N")
    parser.add_argument("--samples_per_class", type=int, default=50)
    args = parser.parse_args(argv)
    if args.samples_per_class < 1:
        raise UsageError(f"--samples_per_class must be at least 1, not {args.samples_per_class}")
    for method in args.methods:
        print(prepare(method, args))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
