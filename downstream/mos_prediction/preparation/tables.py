"""Writing csv files as the recipes have them, and pooling those of several data sets (specs/mos-prediction.md, 2 and 3.1)."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from utility.text.files import rows_of

from .rows import Row

POOLED = ("wav_path", "score", "system_id", "sample_id", "domain_idx")
OF_RATINGS = ("score", "listener_id", "listener_idx")


def write_rows(path: str | Path, rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> None:
    """A whole csv file or none, with lines that end as Python's csv ends them; columns that no row has are left out."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    present = [column for column in columns if any(column in row for row in rows)]
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, present, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    part.replace(path)


def averaged(rows: Iterable[Row]) -> list[Row]:
    """The first row of each sample with the mean of its scores as ``avg_score``, and nothing of a single listener."""
    samples: dict[str, list[Row]] = {}
    for row in rows:
        samples.setdefault(row["sample_id"], []).append(row)
    means = {name: sum(float(row["score"]) for row in own) / len(own) for name, own in samples.items()}
    first = {name: {key: value for key, value in own[0].items() if key not in OF_RATINGS} for name, own in samples.items()}
    return [{**row, "avg_score": str(means[name])} for name, row in first.items()]


def columns_of(output: Sequence[str], average: bool) -> list[str]:
    """The columns of a file, the mean in place of the score where only means are written."""
    return ["avg_score" if name == "score" else name for name in output] if average else list(output)


def pool(paths: Sequence[str | Path]) -> list[Row]:
    """The rows of several files, ids and ``domain_idx`` telling the number of the file.

    Raises:
        DataError: a file is missing or lacks a column.
    """
    hint = "stage 0 of its recipe makes it"
    return [
        {
            **{name: row[name] for name in ("wav_path", "score")},
            **{name: f"{number}_{row[name]}" for name in ("system_id", "sample_id")},
            "domain_idx": str(number),
        }
        for number, path in enumerate(paths)
        for _, row in rows_of(path, POOLED[:4], "table", hint=hint)
    ]
