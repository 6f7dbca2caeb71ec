"""The batches of a condition as a local listening test offers them, and their recordings."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from utility.errors import DataError
from utility.text.files import read_lines

from .batches import place_of

UID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Hit:
    """A batch to rate.

    Args:
        number: of the batch.
        urls: of its recordings, as in ``urls.csv``.
        uids: what the files of these recordings are called.
    """

    number: int
    urls: tuple[str, ...]
    uids: tuple[str, ...]


def read_hits(folder: Path) -> list[Hit]:
    """The batches of a condition, from ``urls.csv``.

    Raises:
        DataError: missing, no such table, or something in it is no address.
    """
    path = folder / "urls.csv"
    header, *rows = list(csv.reader(read_lines(path, "list", hint="turk_create_batch.py writes it"))) or [[]]
    if not rows or header != [f"recording_{number}_url" for number in range(len(header))] or any(len(row) != len(header) for row in rows):
        raise DataError(f"{path} is no table of the columns recording_0_url, recording_1_url ...")
    return [Hit(number, tuple(row), tuple(place_of(url, str(path))[1] for url in row)) for number, row in enumerate(rows)]


def file_of(folder: Path, hit: int, uid: str) -> Path:
    """The recording that a rater of a batch hears."""
    return folder / str(hit) / f"{uid}.wav"


def check_recordings(folder: Path, hits: Sequence[Hit]) -> None:
    """Whether all can be heard: raters would otherwise rate silence.

    Raises:
        DataError: some are missing or empty, or have names that the server does not serve.
    """
    files = [(uid, file_of(folder, hit.number, uid)) for hit in hits for uid in hit.uids]
    missing = [path for uid, path in files if not (UID.fullmatch(uid) and path.is_file() and path.stat().st_size)]
    if missing:
        why = "they are missing, empty, or not named by a uid"
        raise DataError(f"{len(missing)} of {len(files)} recordings of urls.csv cannot be heard ({why}), the first is {missing[0]}")


def identity_of(folder: Path) -> str:
    """A word that changes with the recordings of a condition and what they are: made again, equal addresses may stand for others."""
    digest = hashlib.sha256()
    for path in [*folder.glob("uids.txt"), folder / "urls.csv", *sorted(folder.glob("*/*.wav"))]:
        digest.update(str(path.relative_to(folder)).encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]
