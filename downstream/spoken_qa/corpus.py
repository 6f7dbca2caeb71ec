"""Questions with their recordings and answers, whatever the layout of the corpus."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from utility.audio.io import AUDIO_EXTENSIONS
from utility.errors import DataError
from utility.text.files import naming, read_lines, rows_of

log = logging.getLogger(__name__)
FIELD = "config.downstream_expert.datarc.root"
Span = tuple[float, float]

# How far an annotated end may lie behind the end of the passage (rounding of durations and alignments), in seconds.
_TOLERANCE_S = 0.5


@dataclass(frozen=True, slots=True)
class Question:
    """One item.

    Args:
        name: the question's identifier.
        audio: the recording of the question.
        passage: the recordings that make up the passage, in order.
        spans: the annotated answers, in seconds within the whole passage; at least one.
    """

    name: str
    audio: str
    passage: tuple[str, ...]
    spans: tuple[Span, ...]


@dataclass
class LeftOut:
    """Counts the questions of a split that cannot be used, by reason."""

    where: str
    reasons: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, example: str) -> None:
        """Counts one; ``example`` says which."""
        self.reasons.setdefault(reason, []).append(example)

    @property
    def summary(self) -> str:
        """Numbers and a first example of each reason."""
        return "; ".join(f"{len(names)} {reason} (such as {names[0]})" for reason, names in self.reasons.items())

    def checked(self, questions: list[Question], total: int) -> list[Question]:
        """The questions, after a warning if some are left out.

        Raises:
            DataError: none remains.
        """
        if not questions:
            raise DataError(f"{self.where}: none of {total} questions can be used" + (f": {self.summary}" if self.reasons else ""))
        if self.reasons:
            log.warning("%s: %d of %d questions are left out: %s", self.where, total - len(questions), total, self.summary)
        return questions


def usable_spans(spans: Iterable[Span], seconds: float) -> tuple[tuple[Span, ...], str]:
    """The annotations that a passage of a length can have, cut to it, and what is wrong if there is none."""
    found, reason = [], "without annotation"
    for start, end in spans:
        if not (end > start >= 0):
            reason = "whose answer has no length"
        elif start >= seconds or end > seconds + _TOLERANCE_S:
            reason = "whose answer lies outside the passage"
        else:
            found.append((start, min(end, seconds)))
    return tuple(found), reason


def read_table(path: Path, required: Collection[str]) -> Iterator[dict[str, str]]:
    """The rows of a table with a header.

    Raises:
        DataError: it cannot be read, or columns are missing.
    """
    return (row for _, row in rows_of(path, required, "table", FIELD))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file with one object.

    Raises:
        DataError: it cannot be read as one.
    """
    try:
        content = json.loads("\n".join(read_lines(path, "map", FIELD)))
    except ValueError as error:
        raise DataError(f"{naming(path, 'map', FIELD)} is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{naming(path, 'map', FIELD)} must hold one JSON object, not a {type(content).__name__}")
    return content


def number(row: dict[str, str], column: str, path: Path) -> float:
    """A number of a row.

    Raises:
        DataError: it is none.
    """
    try:
        return float(row[column])
    except (TypeError, ValueError):
        raise DataError(f"{naming(path, 'table', FIELD)}: {column} is {row[column]!r}, which is no number") from None


def first_existing(candidates: Iterable[Path], what: str) -> Path:
    """The first path that exists.

    Raises:
        DataError: none does; the sentence names the first two.
    """
    candidates = list(candidates)
    for path in candidates:
        if path.exists():
            return path
    raise DataError(f"{what} is missing: there is neither {' nor '.join(str(path) for path in candidates[:2])}")


def recordings_in(folder: Path) -> dict[str, str]:
    """Stem -> path of the audio files directly in a folder and its folders; wav and flac come before compressed ones."""
    found: dict[str, str] = {}
    for directory, folders, files in os.walk(folder, followlinks=True):
        folders.sort()
        for file in sorted(files, key=lambda name: (name.lower().endswith((".mp3", ".ogg", ".opus")), name)):
            stem, extension = os.path.splitext(file)  # noqa: PTH122 (pathlib is too slow for some 100,000 names)
            if extension.lower() in AUDIO_EXTENSIONS and not file.startswith("."):
                found.setdefault(stem, os.path.join(directory, file))  # noqa: PTH118
    return found
