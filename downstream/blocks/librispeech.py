"""Corpora in the layout of LibriSpeech: which recordings a split has and what is said in them.

    <root>/<split>/<speaker>/<chapter>/<speaker>-<chapter>-<utterance>.flac     any audio format will do
    <root>/<split>/<speaker>/<chapter>/<speaker>-<chapter>.trans.txt            lines "<utterance> WORD WORD ..."

Folders may be nested otherwise: the texts of a folder belong to the recordings beside them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from utility.audio.io import AUDIO_EXTENSIONS
from utility.errors import DataError, did_you_mean
from utility.text.files import read_lines

log = logging.getLogger(__name__)
_TEXTS = ".trans.txt"


@dataclass(frozen=True, slots=True)
class Utterance:
    """A recording and its text.

    Args:
        name: the file's name without its extension.
        path: the audio file.
        text: the words, separated by spaces.
    """

    name: str
    path: str
    text: str


def scan_split(root: str | Path, split: str, field: str = "path") -> list[Utterance]:
    """The utterances of a split, in the order of their paths; no audio file is opened.

    Recordings without a text are left out, and counted in one warning.

    Args:
        root: the folder that holds the splits.
        split: name of a folder in it.
        field: the config field that error sentences name.

    Raises:
        DataError: a folder is missing, or holds no recording with a text.
    """
    folder = existing_split(root, split, field)
    found, silent = [], []
    for texts, files in _folders(folder, field):
        for name, path in files.items():
            if name in texts:
                found.append(Utterance(name, path, texts[name]))
            else:
                silent.append(path)
    if not found:
        raise DataError(f"{field}: {folder} holds no recording with a line in a {_TEXTS} file beside it")
    if silent:
        log.warning("%s: %d recordings have no line in a %s file and are left out, such as %s", folder, len(silent), _TEXTS, silent[0])
    return found


def existing_split(root: str | Path, split: str, field: str = "path") -> Path:
    """The folder of a split.

    Raises:
        DataError: it does not exist.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"{field}: folder {root} does not exist")
    if not (root / split).is_dir():
        raise DataError(
            f"{field}: {root} has no folder {split!r}{did_you_mean(split, sorted(p.name for p in root.iterdir() if p.is_dir()))}"
        )
    return root / split


def _folders(folder: Path, field: str) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """(texts, recordings) by utterance of every folder below, sorted."""
    for place, subfolders, files in os.walk(folder, followlinks=True):
        subfolders.sort()
        texts, recordings = {}, {}
        for file in sorted(files):
            stem, _, extension = file.rpartition(".")
            if file.endswith(_TEXTS):
                texts.update(read_texts(f"{place}/{file}", field))
            elif f".{extension.lower()}" in AUDIO_EXTENSIONS and not file.startswith("."):
                recordings.setdefault(stem, f"{place}/{file}")
        if recordings:
            yield texts, recordings


def read_texts(path: str | Path, field: str = "path") -> dict[str, str]:
    """Utterance -> text of a file of ``<utterance> WORD WORD ...`` lines.

    Args:
        path: the file.
        field: the config field that an error names.

    Raises:
        DataError: it is missing or no UTF-8 text.
    """
    lines = read_lines(path, "file of texts", field)
    return {columns[0]: " ".join(columns[1:]).strip() for line in lines if (columns := line.split(maxsplit=1))}
