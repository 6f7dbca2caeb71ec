"""What is told of the scores of many recordings: a table with one row each, means, standard deviations, and what could not be measured."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Summary:
    """One metric over recordings.

    Args:
        mean, std: over the recordings whose value is finite; NaN if there is none. The deviation is that of the values, not of the mean.
        count: how many those are.
        failures: recordings without a value (NaN), such as silence for PESQ.
        infinite: recordings whose value is infinite, such as the signal-to-noise ratio of a perfect estimate.
    """

    mean: float
    std: float
    count: int
    failures: int
    infinite: int


def summarise(rows: Sequence[Mapping[str, float]]) -> dict[str, Summary]:
    """Each metric of the rows; a recording that cannot be measured is left out of the mean and counted."""
    return {name: _summary(np.array([row[name] for row in rows], np.float64)) for name in (rows[0] if rows else ())}


def _summary(values: np.ndarray) -> Summary:
    finite = values[np.isfinite(values)]
    mean, std = (float(finite.mean()), float(finite.std())) if len(finite) else (math.nan, math.nan)
    return Summary(mean, std, len(finite), int(np.isnan(values).sum()), int(np.isinf(values).sum()))


def write_csv(path: Path, names: Sequence[str], rows: Sequence[Mapping[str, float]]) -> None:
    """One line for each recording: its number, its scores, its name, as the STM32 zoo writes them but for the name.

    Args:
        path: the file; an existing one is replaced.
        names: of the recordings.
        rows: their scores.
    """
    metrics = list(rows[0]) if rows else []
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["", *metrics, "name"])
        table.writerows([number, *row.values(), name] for number, (name, row) in enumerate(zip(names, rows, strict=True)))
