"""VoxCeleb1's folders and lists (specs: downstream-speaker.md 3 and 4).

<root>/{dev,test}/wav/<speaker>/<video>/<utterance>.wav
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from utility.errors import DataError
from utility.text.files import lines_of, naming


class Recording(NamedTuple):
    """A file of the corpus as it was when it was found.

    Args:
        path: ``<speaker>/<video>/<utterance>.wav``.
        size: bytes.
        mtime_ns: when it was changed last.
    """

    path: str
    size: int
    mtime_ns: int

    @property
    def speaker(self) -> str:
        """The first folder of the path."""
        return self.path.partition("/")[0]


class Trial(NamedTuple):
    """Two recordings to compare.

    Args:
        target: whether one speaker speaks in both.
        first, second: ``<speaker>/<video>/<utterance>.wav``.
    """

    target: bool
    first: str
    second: str


def wav_folder(root: str | Path, part: str, field: str = "file_path") -> Path:
    """``<root>/<part>/wav``.

    Raises:
        DataError: it does not exist.
    """
    folder = Path(root) / part / "wav"
    if not folder.is_dir():
        raise DataError(f"{field}: folder {folder} does not exist; VoxCeleb1 is unpacked as {root}/{{dev,test}}/wav/<speaker>/<video>/")
    return folder


def speakers_of(folder: Path) -> list[str]:
    """The names of the speakers' folders, sorted."""
    return sorted(entry.name for entry in _entries(folder) if entry.is_dir())


def scan(folder: Path) -> Iterator[Recording]:
    """Every wav file of a folder of speakers, in the order of their paths; none is opened."""
    for speaker in speakers_of(folder):
        for video in sorted(entry.name for entry in _entries(folder / speaker) if entry.is_dir()):
            for entry in sorted(_entries(folder / speaker / video), key=lambda entry: entry.name):
                if entry.name.lower().endswith(".wav"):
                    status = entry.stat()
                    yield Recording(f"{speaker}/{video}/{entry.name}", status.st_size, status.st_mtime_ns)


def _entries(folder: Path) -> list[os.DirEntry]:
    with os.scandir(folder) as entries:
        return [entry for entry in entries if not entry.name.startswith(".")]


def read_trials(path: str | Path, field: str, hint: str = "") -> list[Trial]:
    """The trials of a list with lines ``1|0 <path> <path>``; empty lines do not count.

    Args:
        path: the list.
        field: the config field that names it, for errors.
        hint: how to get it where it is missing.

    Raises:
        DataError: it is missing, holds no trial, or a line that is none.
    """
    trials, what = [], "trial list"
    for number, line in enumerate(lines_of(path, what, field, hint), 1):
        columns = line.split()
        if not columns:
            continue
        if len(columns) != 3 or columns[0] not in ("0", "1"):
            raise DataError(f"{naming(path, what, field)}, line {number} is {line!r} and should be '1|0 <recording> <recording>'")
        trials.append(Trial(columns[0] == "1", *columns[1:]))
    if not trials:
        raise DataError(f"{naming(path, what, field)} holds no trial")
    return trials
