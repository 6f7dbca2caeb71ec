"""The csv files of MOS data sets: one rating or one mean opinion score per row (specs/mos-prediction.md, 2).

Columns ``wav_path, score, system_id, sample_id`` are needed, ``listener_id, listener_idx, domain_idx, phoneme, reference`` are used where
they are there, others are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from utility.errors import DataError
from utility.text.files import naming, rows_of

COLUMNS = ("wav_path", "score", "system_id", "sample_id")
MEAN_LISTENER = "mean_listener"


@dataclass(frozen=True, slots=True)
class Rating:
    """A row.

    Args:
        wav_path: the recording; relative paths are below the working directory.
        system, sample: their ids; rows of one sample are ratings of the same recording.
        score: of this rating.
        mean: the mean over all ratings of the sample.
        listener: its id, or None.
        domain: the number of its data set in a pool, or None.
        phoneme, reference: symbols, or None.
    """

    wav_path: str
    system: str
    sample: str
    score: float
    mean: float
    listener: str | None = None
    domain: int | None = None
    phoneme: str | None = None
    reference: str | None = None


def read_tables(paths: Sequence[str | Path], field: str = "") -> list[Rating]:
    """The rows of several files, one after the other.

    Args:
        paths: the files; of several, the ids of samples and systems are told apart by the number of the file.
        field: the config field that names them.

    Raises:
        DataError: a file is missing or damaged, lacks a column or has no row; a score is no number; a recording is missing or a sample has
            several, or several systems; all with the number of the line.
    """
    tables = [read_table(path, field) for path in paths]
    if len(tables) < 2:
        return [rating for table in tables for rating in table]
    return [
        replace(rating, system=f"{number}_{rating.system}", sample=f"{number}_{rating.sample}")
        for number, table in enumerate(tables)
        for rating in table
    ]


def read_table(path: str | Path, field: str = "") -> list[Rating]:
    """The rows of one file, see :func:`read_tables`."""
    name, found, places, systems = naming(path, "table", field), [], {}, {}
    for line, row in rows_of(path, COLUMNS, "table", field, hint="stage 0 of a recipe makes it"):
        where = f"{name}, line {line}"
        rating = _rating(row, where)
        first, wav = places.setdefault(rating.sample, (line, rating.wav_path))
        if wav != rating.wav_path:
            raise DataError(f"{where}: the sample {rating.sample} is {rating.wav_path}, but {wav} in line {first}: ids must be unique")
        if rating.system != (system := systems.setdefault(rating.sample, rating.system)):
            raise DataError(f"{where}: the sample {rating.sample} is of the system {rating.system}, but of {system} in line {first}")
        if first == line and not Path(rating.wav_path).is_file():
            raise DataError(f"{where}: there is no recording {rating.wav_path}")
        found.append(rating)
    if not found:
        raise DataError(f"{name} has no row beneath its header")
    means: dict[str, list[float]] = {}
    for rating in found:
        means.setdefault(rating.sample, []).append(rating.score)
    averages = {sample: float(np.mean(scores)) for sample, scores in means.items()}
    return [replace(rating, mean=averages[rating.sample]) for rating in found]


def _rating(row: dict[str | None, Any], where: str) -> Rating:
    if any(row.get(None, ())):  # what csv calls the cells behind the last column
        raise DataError(f"{where} has more values than the header has columns: write a value with a comma in quotation marks")
    for column in COLUMNS:
        if not row[column]:
            raise DataError(f"{where} has no {column}")
    try:
        score, domain = float(row["score"]), int(row["domain_idx"]) if row.get("domain_idx") else None
    except ValueError:
        column = "domain_idx" if _is_number(row["score"]) else "score"
        raise DataError(f"{where}: the {column} {row[column]!r} is no {'whole ' * (column != 'score')}number") from None
    if not np.isfinite(score):
        raise DataError(f"{where}: the score {row['score']!r} is no number")
    if domain is not None and domain < 0:
        raise DataError(f"{where}: the domain_idx {domain} is below 0")
    texts = (row.get("phoneme") or None, row.get("reference") or None)
    return Rating(row["wav_path"], row["system_id"], row["sample_id"], score, score, row.get("listener_id") or None, domain, *texts)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def samples_of(ratings: Sequence[Rating]) -> list[Rating]:
    """The first row of each sample, its score the mean, without a listener."""
    return list({rating.sample: replace(rating, score=rating.mean, listener=None) for rating in reversed(ratings)}.values())[::-1]


def with_mean_listener(ratings: Sequence[Rating]) -> list[Rating]:
    """The rows, and after each sample's last one the mean opinion as the rating of one listener more (LDNet's training)."""
    return [row for group in _groups(ratings) for row in (*group, replace(group[-1], score=group[-1].mean, listener=MEAN_LISTENER))]


def _groups(ratings: Sequence[Rating]) -> Iterator[list[Rating]]:
    groups: dict[str, list[Rating]] = {}
    for rating in ratings:
        groups.setdefault(rating.sample, []).append(rating)
    yield from groups.values()


def listeners_of(ratings: Sequence[Rating], field: str) -> list[str]:
    """Ids of listeners in the order of their first rating; their places are the indices.

    Raises:
        DataError: a row names no listener.
    """
    if nameless := next((rating for rating in ratings if rating.listener is None), None):
        raise DataError(f"{field}: the sample {nameless.sample} has a rating without listener_id, which this predictor needs")
    return list(dict.fromkeys(rating.listener for rating in ratings))
