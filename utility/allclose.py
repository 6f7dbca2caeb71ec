"""Prints the largest absolute difference of two saved tensors, or lists or dicts of tensors such as ``extract_features.py`` writes.

python3 utility/allclose.py A.pt B.pt
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    import _root  # noqa: F401

from utility.errors import DataError, program


def tensors(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """The tensors in nested lists, tuples and dicts, each with its place such as ``[0].weight``; an array counts as a tensor."""
    import numpy as np
    import torch

    if isinstance(value, torch.Tensor | np.ndarray):
        yield place, torch.as_tensor(value)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from tensors(inner, f"{place}.{key}")
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from tensors(inner, f"{place}[{index}]")


def largest_difference(first: Any, second: Any) -> float:
    """The largest absolute difference over all tensors; NaN if one holds NaN.

    Raises:
        DataError: no tensors, or the two differ in places or shapes.
    """
    import torch

    ours, theirs = dict(tensors(first)), dict(tensors(second))
    if not ours:
        raise DataError("the first file holds no tensor")
    if odd := sorted(ours.keys() ^ theirs.keys()):
        raise DataError(f"only one of the files has a tensor at {odd[0]!r}")
    worst = torch.zeros((), dtype=torch.float64)
    for place, tensor in ours.items():
        other = theirs[place]
        if tensor.shape != other.shape:
            raise DataError(f"the shapes at {place!r} differ: {tuple(tensor.shape)} and {tuple(other.shape)}")
        if tensor.numel():
            wide = torch.complex128 if tensor.is_complex() or other.is_complex() else torch.float64
            worst = torch.maximum(worst, (tensor.to(wide) - other.to(wide)).abs().max())
    return worst.item()


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    parser = argparse.ArgumentParser(description="print the largest absolute difference of two saved tensors")
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    args = parser.parse_args(argv)
    from utility.experiment.unpickle import load_foreign

    print(largest_difference(load_foreign(args.first), load_foreign(args.second)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
