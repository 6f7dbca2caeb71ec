"""Fluent Speech Commands as it is distributed (Lugosch et al. 2019, arXiv 1904.03670; spec: downstream-speaker.md 2).

<root>/data/{train,valid,test}_data.csv      index, path, speakerId, transcription, action, object, location
<root>/wavs/speakers/<speaker>/<name>.wav    paths in the tables are relative to the root
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from downstream.blocks.recordings import Recording, check_recordings
from utility.errors import DataError, did_you_mean
from utility.text.files import naming, rows_of

SLOTS = ("action", "object", "location")
FIELD = "config.downstream_expert.datarc.file_path"
TABLES = {"train": "train_data.csv", "dev": "valid_data.csv", "test": "test_data.csv"}


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a table.

    Args:
        line: its number in the file.
        path: of the recording, below the root.
        values: action, object, location.
    """

    line: int
    path: str
    values: tuple[str, ...]


def table_of(root: str | Path, split: str) -> Path:
    """Where the table of a split lies."""
    return Path(root) / "data" / TABLES[split]


def read_table(root: str | Path, split: str) -> list[Row]:
    """The lines of the table of a split, in order.

    Raises:
        DataError: the table is missing, empty or no table, lacks a column, or a line lacks a value.
    """
    path = table_of(root, split)
    found = []
    for line, row in rows_of(path, ("path", *SLOTS), "table", FIELD, hint="the folder must be the unpacked Fluent Speech Commands"):
        empty = [column for column in ("path", *SLOTS) if not row[column]]
        if empty:
            raise DataError(f"{naming(path, 'table', FIELD)}, line {line} has no {empty[0]}")
        found.append(Row(line, row["path"], tuple(row[slot] for slot in SLOTS)))
    if not found:
        raise DataError(f"{naming(path, 'table', FIELD)} has no line beneath its header")
    return found


def vocabularies_of(rows: Sequence[Row]) -> dict[str, list[str]]:
    """The values of each slot in the order of their first appearance, which numbers the classes."""
    return {slot: list(dict.fromkeys(row.values[place] for row in rows)) for place, slot in enumerate(SLOTS)}


def numbered(rows: Sequence[Row], table: Path, vocabularies: Mapping[str, Sequence[str]]) -> list[tuple[int, ...]]:
    """The classes of each row.

    Raises:
        DataError: a value that the training table does not have.
    """
    places = [{value: number for number, value in enumerate(vocabularies[slot])} for slot in SLOTS]
    return [tuple(_number(row, slot, known, table) for slot, known in enumerate(places)) for row in rows]


def _number(row: Row, slot: int, known: Mapping[str, int], table: Path) -> int:
    value = row.values[slot]
    if value not in known:
        where = f"{naming(table, 'table', FIELD)}, line {row.line}"
        raise DataError(f"{where}: the {SLOTS[slot]} {value!r} does not occur in training{did_you_mean(value, known)}")
    return known[value]


def recordings_of(root: str | Path, split: str, vocabularies: Mapping[str, Sequence[str]]) -> list[Recording]:
    """The items of a split, with a number for each slot; files of answers call them by the stems of their files.

    Raises:
        DataError: the table is missing or wrong, has values that are unknown, or names recordings that are not there.
    """
    table, rows = table_of(root, split), read_table(root, split)
    labels = numbered(rows, table, vocabularies)
    check_recordings(root, (row.path for row in rows), naming(table, "table", FIELD))
    return [Recording(str(Path(root, row.path)), label, PurePosixPath(row.path).stem) for row, label in zip(rows, labels, strict=True)]
