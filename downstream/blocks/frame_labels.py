"""A class for each frame of each utterance, and the lists that say which utterances a split has (spec: downstream-content.md 1).

A folder of labels holds

    converted_aligned_phones.txt    lines "utterance class class ...", one class per 10 ms; or the same file in converted_aligned_phones.zip
    train_split.txt, test_split.txt one utterance per line
    phones.txt                      optional: lines "NAME class", what the classes are called
"""

from __future__ import annotations

import random
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from downstream.blocks.length_buckets import TableRow
from utility.audio.io import load_audio
from utility.errors import DataError
from utility.text.files import decoded, naming, read_lines

SAMPLE_RATE = 16000
LABELS, ARCHIVE, NAMES = "converted_aligned_phones.txt", "converted_aligned_phones.zip", "phones.txt"


class FrameLabels:
    """The labels of a whole corpus in one array of a byte per frame, read once.

    Args:
        folder: where the labels lie.
        classes: how many classes there are, 256 at most.
        field: the config field that error sentences name.
        hint: what to do where there are no labels.

    Raises:
        DataError: the labels are missing, damaged, or name a class that there is not.
    """

    def __init__(self, folder: str | Path, classes: int, field: str = "phone_path", hint: str = ""):
        self.places: dict[str, tuple[int, int]] = {}
        labels = bytearray()
        with _opened(Path(folder), field, hint) as (file, source):
            for number, line in enumerate(decoded(file, naming(source, "file of labels", field)), 1):
                name, *text = line.split(maxsplit=1) or [""]
                if name:
                    own = _classes("".join(text), classes, f"{field}: line {number} of {source}")
                    self.places[name] = (len(labels), len(labels) + len(own))
                    labels += own.tobytes()
        self.labels = np.frombuffer(labels, np.uint8)
        if not self.places:
            raise DataError(f"{field}: {source} holds no labels")

    def __contains__(self, name: str) -> bool:
        return name in self.places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, name: str) -> np.ndarray:
        """(frames,) uint8, the classes of an utterance."""
        start, stop = self.places[name]
        return self.labels[start:stop]


def _classes(text: str, classes: int, where: str) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        try:
            found = np.fromstring(text, np.int64, sep=" ")
        except (DeprecationWarning, ValueError):
            raise DataError(f"{where} is no utterance followed by whole numbers") from None
    if not len(found):
        raise DataError(f"{where} holds an utterance without labels")
    if found.min() < 0 or found.max() >= classes:
        wrong = found.min() if found.min() < 0 else found.max()
        raise DataError(f"{where} holds the class {wrong}; there are {classes}, from 0 to {classes - 1}")
    return found.astype(np.uint8)


@contextmanager
def _opened(folder: Path, field: str, hint: str) -> Iterator[tuple[BinaryIO, Path]]:
    """The text of the labels, whether it is packed or not, and the file that holds it."""
    if (folder / LABELS).is_file():
        with (folder / LABELS).open("rb") as file:
            yield file, folder / LABELS
        return
    archive = folder / ARCHIVE
    if not archive.is_file():
        missing = f"has no {LABELS} or {ARCHIVE}" if folder.is_dir() else "does not exist"
        raise DataError(f"{field}: folder {folder} {missing}" + (f"; {hint}" if hint else ""))
    try:
        with zipfile.ZipFile(archive) as packed:
            inside = next((name for name in packed.namelist() if Path(name).name == LABELS), None)
            if inside is None:
                raise DataError(f"{field}: {archive} has no {LABELS} in it")
            with packed.open(inside) as file:
                yield file, archive
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(f"{field}: {archive} is damaged: {error}") from error


def read_list(path: str | Path, field: str = "phone_path", hint: str = "") -> list[str]:
    """The utterances of a list, blank lines left out.

    Args:
        path: the list.
        field: the config field that error sentences name.
        hint: what to do where it is missing.

    Raises:
        DataError: the list is missing or empty.
    """
    names = [name for line in read_lines(path, "list of utterances", field, hint) for name in line.split()]
    if not names:
        raise DataError(f"{field}: the list of utterances {path} is empty")
    return names


def divide(names: Iterable[str], seed: int, part: float = 0.9) -> tuple[list[str], list[str]]:
    """Shuffles names as Python's ``random`` does after ``random.seed(seed)`` (whose state is left alone), and cuts them in two."""
    shuffled = list(names)
    random.Random(seed).shuffle(shuffled)
    cut = int(len(shuffled) * part)
    return shuffled[:cut], shuffled[cut:]


def class_names(folder: str | Path, classes: int, field: str = "phone_path") -> list[str]:
    """The names of the classes in ``phones.txt``; their numbers where the file or a line of it is missing.

    Raises:
        DataError: the file is no text.
    """
    names = [str(number) for number in range(classes)]
    path = Path(folder) / NAMES
    if path.is_file():
        for line in read_lines(path, "list of classes", field):
            name, _, number = line.strip().rpartition(" ")
            if number.isdecimal() and int(number) < classes:
                names[int(number)] = name
    return names


class LabelledFrames(Dataset):
    """Items are (waveform, classes).

    Args:
        root: of the corpus.
        utterances: which, in the order of the indices.
        labels: of the corpus.
        label_rate: samples per label at 16 kHz.
        tolerance: seconds that labels may go on behind the end of the recording.
    """

    def __init__(self, root: Path, utterances: Sequence[TableRow], labels: FrameLabels, label_rate: int, tolerance: float):
        self.root, self.utterances, self.labels = root, utterances, labels
        self.label_rate, self.tolerance = label_rate, tolerance

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        utterance = self.utterances[index]
        path, labels = self.root / utterance.path, self.labels[utterance.name]
        wav = load_audio(path, SAMPLE_RATE)
        if len(labels) * self.label_rate > len(wav) + self.tolerance * SAMPLE_RATE:
            spoken, labelled = (samples / SAMPLE_RATE for samples in (len(wav), len(labels) * self.label_rate))
            raise DataError(f"the labels of {utterance.name} last {labelled:.2f} s, but the recording {path} only {spoken:.2f} s")
        return torch.from_numpy(wav), torch.from_numpy(labels.astype(np.int64))

    @staticmethod
    def collate_fn(samples: list[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
        """``(wavs, labels)``."""
        wavs, labels = zip(*samples, strict=True)
        return list(wavs), list(labels)
