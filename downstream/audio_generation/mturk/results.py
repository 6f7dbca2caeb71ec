"""Result files of a listening test, MTurk's or serve.py's, as answers: each assignment once, those that were rejected left out."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from utility.errors import DataError
from utility.text.files import rows_of

from .batches import place_of, read_uids

OPINION = range(1, 6)
SCALES = {"quality": OPINION, "musicality": OPINION, "intelligibility": OPINION, "diversity": OPINION, "digit": range(10)}
"""What may be answered to each question; other columns of a result file are not read."""

KINDS = {"musicality": (("quality", "musicality"), ()), "digit": (("digit", "intelligibility"), ("quality", "diversity"))}
"""By the question that tells a kind of test: what it asks of each recording, and what once a page."""

_COLUMN = re.compile(rf"(?:Input|Answer)\.recording_(?P<number>\d+)_(?P<what>url|{'|'.join(SCALES)})")

Known = Mapping[tuple[str, str], tuple[str, str, int]]
"""Method, file name and how many recordings the method has, by condition and uid."""


@dataclass(frozen=True)
class Answer:
    """What a rater said of one recording.

    Args:
        worker: the rater.
        method, name: whose recording, and its file.
        given: numbers by question; those that were left out are absent.
        shared: how many recordings this answer is repeated over, for questions that are asked once a page.
        recordings: how many of the method there are in its condition, rated or not.
    """

    worker: str
    method: str
    name: str
    given: Mapping[str, int]
    shared: int
    recordings: int


@dataclass(frozen=True)
class Results:
    """What result files hold.

    Args:
        answers: that count.
        twice: rows that repeat another one.
        rejected: assignments that were.
    """

    answers: list[Answer]
    twice: int
    rejected: int

    def left_out(self) -> str:
        """What does not count, in one line; empty if all does."""
        said = {"that repeat others": self.twice, "that were rejected": self.rejected}
        return "assignments left out: " + ", ".join(f"{count} {why}" for why, count in said.items() if count) if any(said.values()) else ""


@dataclass(frozen=True)
class _Row:
    """An assignment as it stands in a file.

    Args:
        place: file and line.
        worker: the rater.
        values: by column.
        columns: of each recording the column of its address, and those of its answers by question.
    """

    place: str
    worker: str
    values: Mapping[str, str]
    columns: Sequence[tuple[str, Mapping[str, str]]]

    @property
    def assignment(self) -> tuple[str, ...]:
        """What copies share: serve.py numbers the assignments of each file anew and some files have none, so a number is not enough."""
        about = (self.values.get("AssignmentId", ""), self.worker, self.values.get("HITId", ""))
        return (*about, *(self.values[url] for url, _ in self.columns))


def read_results(results: Iterable[Path], batches: Path) -> Results:
    """The answers of MTurk's result files, or of those of serve.py.

    Args:
        results: ``Batch_<id>_batch_results.csv`` files; two downloads of one batch count once.
        batches: what turk_create_batch.py wrote, a condition's folder or the folder above several.

    Raises:
        DataError: a file is missing, lacks a column, names a recording that ``uids.txt`` does not or a rater that is none, or two copies
            of an assignment differ.
    """
    known = _known(batches)
    copies: dict[tuple[str, ...], list[_Row]] = defaultdict(list)
    for row in (row for path in results for row in _rows(path)):
        copies[row.assignment].append(row)
    kept = [rows for rows in copies.values() if not _rejected(rows)]
    answers = [answer for rows in kept for answer in _once(rows, known, batches)]
    return Results(answers, sum(len(rows) - 1 for rows in kept), len(copies) - len(kept))


def _known(batches: Path) -> Known:
    lists = [batches / "uids.txt"] if (batches / "uids.txt").is_file() else sorted(batches.glob("*/uids.txt"))
    if not lists:
        raise DataError(f"there is no uids.txt in {batches} nor in a folder of it; turk_create_batch.py writes it")
    known = {}
    for path in lists:
        uids = read_uids(path)
        counts = Counter(method for method, _ in uids.values())
        known |= {(path.absolute().parent.name, uid): (method, name, counts[method]) for uid, (method, name) in uids.items()}
    return known


def _rows(path: Path) -> Iterator[_Row]:
    columns = None
    for line, values in rows_of(path, ["WorkerId", "Input.recording_0_url"], "result file"):
        columns = columns or _columns(path, values)
        worker = values["WorkerId"].strip()
        if not worker:  # several people would be one rater
            raise DataError(f"{path}, line {line}: WorkerId is empty")
        yield _Row(f"{path}, line {line}", worker, values, columns)


def _columns(path: Path, header: Iterable[str | None]) -> list[tuple[str, dict[str, str]]]:
    """See :class:`_Row`; what a file lacks would be missing in the means without a word."""
    present = {name for name in header if name}
    found = [match for name in present if (match := _COLUMN.fullmatch(name))]
    kinds = sorted(KINDS.keys() & {match["what"] for match in found})
    if len(kinds) != 1:
        either = " nor ".join(f"'Answer.recording_0_{kind}'" for kind in KINDS)
        raise DataError(f"result file {path} has " + ("columns of both music and speech" if kinds else f"neither a column {either}"))
    each, page = KINDS[kinds[0]]
    columns = []
    for number in range(1 + max(int(match["number"]) for match in found)):
        url, answers = f"Input.recording_{number}_url", {question: f"Answer.recording_{number}_{question}" for question in each}
        answers |= {question: f"Answer.{question}" for question in page}
        if missing := [name for name in (url, *answers.values()) if name not in present]:
            raise DataError(f"result file {path} has no column {missing[0]!r}")
        columns.append((url, answers))
    return columns


def _rejected(rows: Iterable[_Row]) -> bool:
    """Whether it was so in the end: downloads of several times may differ, and on MTurk a rejection can be taken back, an approval not."""
    said = {row.values.get("AssignmentStatus", "").strip().lower() for row in rows}
    return "rejected" in said and "approved" not in said


def _once(rows: Sequence[_Row], known: Known, batches: Path) -> list[Answer]:
    """The answers of an assignment out of its copies."""
    first, *others = [_answers(row, known, batches) for row in rows]
    for row, other in zip(rows[1:], others, strict=True):
        if other != first:
            raise DataError(f"{rows[0].place} and {row.place} hold one assignment of {row.worker} with different answers")
    return first


def _answers(row: _Row, known: Known, batches: Path) -> list[Answer]:
    answers = []
    for url, questions in row.columns:
        condition, uid = place_of(row.values[url], row.place)
        if (condition, uid) not in known:
            raise DataError(f"{row.place}: recording {condition}/{uid} is in no uids.txt of {batches}")
        method, name, recordings = known[condition, uid]
        given = {
            question: _value(text, SCALES[question], f"{row.place}: {column}")
            for question, column in questions.items()
            if (text := row.values[column])
        }
        answers.append(Answer(row.worker, method, name, given, len(row.columns), recordings))
    return answers


def _value(text: str, scale: range, place: str) -> int:
    try:
        value = float(text)
    except ValueError as error:
        raise DataError(f"{place} is {text!r}, not a number") from error
    if value not in scale:
        raise DataError(f"{place} is {text}, not a whole number from {scale[0]} to {scale[-1]}")
    return int(value)
