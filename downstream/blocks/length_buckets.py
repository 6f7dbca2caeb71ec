"""Batches of utterances of like length, from the tables of ``preprocess/generate_len_for_bucket.py`` (spec: downstream-content.md 0).

A table ``<folder>/<split>.csv`` has the columns ``,file_path,length,label``; paths are below the corpus, lengths in samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch.utils.data import Sampler

from downstream.blocks.presence import missing_below
from utility.errors import DataError, did_you_mean
from utility.text.files import rows_of

PUBLISHED_LIMIT = 2000  # meant as frames of 10 ms, compared with samples


class TableRow(NamedTuple):
    """A row of a table: the path below the corpus and the length in samples."""

    path: str
    samples: int

    @property
    def name(self) -> str:
        """The name of the file without its extension, which is the utterance's in transcripts and labels."""
        return self.path.rpartition("/")[2].rpartition(".")[0]


def read_lengths(folder: str | Path, splits: Sequence[str], corpus: str | Path, field: str = "bucket_file") -> list[TableRow]:
    """The utterances of some splits together, longest first; equally long ones in the order of the tables.

    Args:
        folder: where the tables lie.
        splits: names of tables, without ``.csv``.
        corpus: root of the corpus, for the sentence that says how to make a missing table.
        field: the config field that an error names.

    Raises:
        DataError: a table is missing or is none.
    """
    rows = [row for split in splits for row in _read_table(Path(folder) / f"{split}.csv", corpus, field)]
    return sorted(rows, key=lambda row: -row.samples)


def _read_table(path: Path, corpus: str | Path, field: str) -> list[TableRow]:
    if not path.is_file():
        known = did_you_mean(path.stem, sorted(file.stem for file in path.parent.glob("*.csv")))
        command = _command(path.parent, [path.stem], corpus)
        raise DataError(f"{field}: there is no table of lengths {path}{known}; this makes it: {command}")
    return [_row(row, f"{field}: line {line} of {path}") for line, row in rows_of(path, ("file_path", "length"), "table of lengths", field)]


def _row(row: dict[str, str], where: str) -> TableRow:
    try:
        samples = int(float(row["length"]))
    except (ValueError, OverflowError):
        samples = -1
    if samples < 0 or not row["file_path"]:
        raise DataError(f"{where} has no path with a number of samples: {row['file_path']!r}, {row['length']!r}")
    return TableRow(row["file_path"], samples)


def _command(folder: Path, splits: Sequence[str], corpus: str | Path) -> str:
    """What makes tables of lengths."""
    return f"python3 preprocess/generate_len_for_bucket.py -i {corpus} -o {folder.parent} -n {folder.name} --splits {' '.join(splits)}"


def check_recordings(
    rows: Sequence[TableRow], folder: str | Path, splits: Sequence[str], corpus: str | Path, field: str = "bucket_file"
) -> None:
    """Refuses tables whose recordings are not there, before the first of them is drawn. Each folder of recordings is listed once.

    Args:
        rows: of the tables, or those of them that are needed.
        folder, splits, corpus, field: as for :func:`read_lengths`.

    Raises:
        DataError: recordings are missing; how many, and one of them, are named.
    """
    missing = missing_below(corpus, (row.path for row in rows))
    if missing:
        raise DataError(
            f"{field}: {len(missing)} of {len(rows)} recordings in the tables of lengths {', '.join(splits)} in {folder} are not below "
            f"{corpus}, such as {missing[0]}; this makes the tables anew: {_command(Path(folder), splits, corpus)}"
        )


def form_batches(utterances: Sequence[TableRow], size: int) -> list[list[TableRow]]:
    """Groups of ``size`` (1 or more) utterances in a row; the last one holds what is left."""
    return [list(utterances[start : start + size]) for start in range(0, len(utterances), size)]


def published_batches(
    utterances: Sequence[TableRow], size: int, wanted: Callable[[TableRow], bool], limit: int = PUBLISHED_LIMIT
) -> list[list[TableRow]]:
    """S3PRL's groups to the letter, for whoever has to repeat a run.

    A full group whose longest utterance exceeds ``limit`` becomes two halves. The limit was meant in frames and the lengths are samples, so
    every full group does: S3PRL's 32 is 16. A last group that is not full stays whole; it is dropped if it holds one utterance only, or
    if the last row of the tables is not wanted.

    Args:
        utterances: all rows, longest first.
        size: utterances per group before it is cut.
        wanted: whether an utterance belongs to the set.
    """
    batches: list[list[TableRow]] = []
    group: list[TableRow] = []
    for row in utterances:
        if not wanted(row):
            continue
        group.append(row)
        if len(group) == size:
            half = size // 2 if size >= 2 and group[0].samples > limit else size
            batches += [group[:half], group[half:]] if half < size else [group]
            group = []
    if len(group) > 1 and wanted(utterances[-1]):
        batches.append(group)
    return batches


class BatchOrder(Sampler[list[int]]):
    """Indices of batches for a DataLoader, where a dataset holds the utterances of all batches one after the other.

    Args:
        sizes: utterances of each batch.
        shuffle: take the batches in random order, by torch's global generator.
    """

    def __init__(self, sizes: Sequence[int], shuffle: bool):
        self.sizes, self.shuffle = list(sizes), shuffle

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[list[int]]:
        ends = torch.tensor(self.sizes).cumsum(0).tolist()
        order = torch.randperm(len(ends)).tolist() if self.shuffle else range(len(ends))
        for batch in order:
            yield list(range(ends[batch] - self.sizes[batch], ends[batch]))
