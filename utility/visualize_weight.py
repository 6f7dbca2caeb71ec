"""Draws how much of each upstream layer a trained downstream model uses.

    python3 utility/visualize_weight.py --ckpt result/downstream/ExpName/dev-best.ckpt [--name TITLE --out_dir FOLDER]

Writes ``visualize_weight.png``, a bar chart of the softmax of the Featurizer's weights by layer, and prints the weights.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    import _root  # noqa: F401

from utility.errors import CheckpointError, DataError, program

FILE_NAME = "visualize_weight.png"


def normalized_weights(state: dict[str, Any], source: Path) -> list[float]:
    """Softmax of the Featurizer's weights, one number a layer.

    Raises:
        CheckpointError: no weighted sum was trained (a single layer, or ``-l``).
    """
    weights = (state.get("Featurizer") or {}).get("weights")
    if weights is None:
        raise CheckpointError(f"{source} has no layer weights: its upstream gives one layer, or one was selected")
    exponentials = [math.exp(value) for value in (weights.double() - weights.double().max()).tolist()]
    return [value / math.fsum(exponentials) for value in exponentials]


def draw(weights: list[float], title: str, path: Path) -> None:
    """Writes the bar chart of ``weights``; the first layer is number 1.

    Raises:
        DataError: ``path`` cannot be written.
    """
    from utility.experiment.figures import new_figure

    figure = new_figure(figsize=(max(6.4, 0.4 * len(weights)), 4.8), layout="constrained")
    axes = figure.add_subplot()
    bars = axes.bar(range(1, len(weights) + 1), weights)
    axes.bar_label(bars, labels=[f"{weight:.2f}" for weight in weights], fontsize=8)
    axes.set_title(title, parse_math=False)  # the name of a folder, dollars and all
    axes.set(xlabel="Layer ID", ylabel="Weight", ylim=(0, 1), xticks=range(1, len(weights) + 1))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}") from error


def run(ckpt: Path, name: str | None, out_dir: Path | None) -> Path:
    """Draws the weights of a checkpoint and prints them; returns the path of the picture."""
    from utility.experiment import checkpoint

    ckpt = checkpoint.resolve(ckpt)
    weights = normalized_weights(checkpoint.load(ckpt), ckpt)
    path = (out_dir or ckpt.parent) / FILE_NAME
    draw(weights, name or ckpt.resolve().parent.name, path)
    print(f"Normalized weights: {[round(weight, 6) for weight in weights]}")
    return path


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    parser = argparse.ArgumentParser(description="draw how much of each upstream layer a downstream model uses")
    parser.add_argument("--ckpt", type=Path, required=True, help="a checkpoint, or an experiment folder")
    parser.add_argument("--name", help="title of the chart (default: the name of the checkpoint's folder)")
    parser.add_argument("--out_dir", type=Path, help="folder to write to (default: the checkpoint's)")
    args = parser.parse_args(argv)
    path = run(args.ckpt, args.name, args.out_dir)
    print(path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
