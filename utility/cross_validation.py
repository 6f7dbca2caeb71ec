"""Accuracy of a cross validation: one experiment per fold, each tested at its best dev score, and the mean.

    python3 utility/cross_validation.py result/downstream/ExpName_fold1 ... result/downstream/ExpName_fold5

Weighted accuracy counts utterances, unweighted accuracy is the average over classes. Weighted accuracy is read from ``log.log`` as
``get_best_dev.py`` does, unweighted accuracy from ``metrics.jsonl``, which experiments of S3PRL do not have.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    import _root  # noqa: F401

from utility.errors import DataError, program
from utility.get_best_dev import best_dev, read_log
from utility.text.files import lines_of

WEIGHTED, UNWEIGHTED = "acc", "uar"


@dataclass(frozen=True)
class Fold:
    """What one experiment came to.

    Args:
        folder: of the experiment.
        fold: its name, "" where the experiment does not say.
        step: of its best dev score.
        weighted: test accuracy at that step.
        unweighted: the average over classes, None where the experiment does not say.
    """

    folder: Path
    fold: str
    step: int
    weighted: float
    unweighted: float | None


def fold_of(folder: Path) -> Fold:
    """Reads an experiment.

    Raises:
        DataError: it has no log, or no test score at its best dev score.
    """
    best, test = best_dev(read_log(folder))
    if best is None or test is None:
        raise DataError(f"{folder} has no {'best dev score' if best is None else f'test score at step {best.step}, its best dev score'}")
    logged = [line for line in metrics_of(folder) if line.get("split") == "test" and line.get("step") == best.step]
    tags = [tag for tag in (logged[-1] if logged else {}) if tag.endswith(f"/test-{UNWEIGHTED}")]
    return Fold(folder, fold_name(folder), best.step, _number(test.value, folder), logged[-1][tags[0]] if tags else None)


def metrics_of(folder: Path) -> Iterator[dict[str, Any]]:
    """The lines of ``metrics.jsonl``, none where there is no such file; the last one may be cut off."""
    path = folder / "metrics.jsonl"
    for line in lines_of(path) if path.is_file() else ():
        try:
            yield json.loads(line)
        except ValueError:
            print(f"[cross_validation] a damaged line of {path} is passed over", file=sys.stderr)


def fold_name(folder: Path) -> str:
    """The fold that an experiment was tested on, by its file of answers."""
    names = sorted(match[1] for path in folder.glob("test_*_truth.txt") if (match := re.fullmatch(r"test_(.+)_truth", path.stem)))
    return names[0] if len(names) == 1 else ""


def _number(text: str, folder: Path) -> float:
    try:
        return float(text)
    except ValueError:
        raise DataError(f"the test score of {folder} is no number: {text}") from None


def table(folds: list[Fold]) -> list[str]:
    """A line per fold and one for the mean.

    Args:
        folds: one or more.
    """
    known = [fold.unweighted for fold in folds if fold.unweighted is not None]
    mean = _columns(sum(fold.weighted for fold in folds) / len(folds), sum(known) / len(known) if len(known) == len(folds) else None)
    lines = [f"{fold.fold or '?'}: {_columns(fold.weighted, fold.unweighted)} (step {fold.step}, {fold.folder})" for fold in folds]
    return [*lines, f"mean of {len(folds)}: {mean}"]


def _columns(weighted: float, unweighted: float | None) -> str:
    return f"weighted accuracy {weighted:.4f}, unweighted accuracy " + ("unknown" if unweighted is None else f"{unweighted:.4f}")


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    parser = argparse.ArgumentParser(description="print the test accuracy of each fold at its best dev score, and the mean")
    parser.add_argument("expdirs", nargs="+", type=Path, metavar="EXPDIR", help="the experiment of each fold")
    args = parser.parse_args(argv)
    folds = [fold_of(folder) for folder in args.expdirs]
    named = [fold.fold for fold in folds if fold.fold]
    if twice := sorted({name for name in named if named.count(name) > 1}):
        raise DataError(f"{twice[0]} comes twice: {', '.join(str(fold.folder) for fold in folds if fold.fold == twice[0])}")
    print("\n".join(table(sorted(folds, key=lambda fold: fold.fold))))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
