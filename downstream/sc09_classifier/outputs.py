"""What the classifier says of many recordings, kept in files: ``<name>_probs.npy`` and ``<name>_activations.npy``.

The clusters of the training activations, which take minutes to find, are beside them: ``train_centres.npy``.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch.utils.data import DataLoader
from tqdm import tqdm

from utility.errors import DataError
from utility.experiment.arrays import read_table, write_array
from utility.experiment.texts import write_text
from utility.metrics.generation import BINS, Outputs, TrainingBins
from utility.training.loading import Place, open_pass
from utility.training.seeding import Stream

from .dataset import DigitDataset
from .features import LogMel
from .model import ResNeXt

log = logging.getLogger(__name__)

NOTE = "outputs.json"
UNFINISHED = "unfinished"
CENTRES = "train_centres"
LOCK = ".lock"


@torch.no_grad()
def classify(model: ResNeXt, features: LogMel, files: Sequence[Path], batch_size: int, workers: int = 0, title: str = "") -> Outputs:
    """Probabilities (n, classes) and activations (n, D), float32, in the order of ``files``.

    Args:
        model: in evaluation mode, on any device.
        features: of the task; the reading has one of its own, on the CPU.
        files: recordings of any rate and length.
        batch_size, workers: of the reading.
        title: of the progress bar.

    Raises:
        DataError: a recording cannot be read.
    """
    device = model.classifier.weight.device
    probabilities, activations = [], []
    dataset = DigitDataset(files, LogMel(features.pad_mode))
    loader = DataLoader(dataset, batch_size, num_workers=workers, collate_fn=DigitDataset.collate_fn)
    opened = open_pass(lambda: loader, Place(0, Stream.EVALUATION, title, even=False))
    for _, images, _, _ in tqdm(opened.batches, desc=title, total=opened.expected, unit="batch", dynamic_ncols=True, leave=False):
        inner = model.activations(images.to(device))
        activations.append(inner.cpu().numpy())
        probabilities.append(model.classifier(inner).softmax(dim=-1).cpu().numpy())
    return Outputs(np.concatenate(probabilities), np.concatenate(activations))


def digest_of(model: ResNeXt, features: LogMel, files: Sequence[Path] | None) -> str:
    """Stands for the weights and the features, and, behind a dash, for the recordings (their paths, sizes and times) if there are any."""
    classifier, corpus = hashlib.sha256(features.pad_mode.encode()), hashlib.sha256()
    for name, value in model.state_dict().items():
        classifier.update(name.encode())
        classifier.update(value.cpu().numpy().tobytes())
    for path in files or ():
        about = path.stat()
        corpus.update(f"{path}\0{about.st_size}\0{about.st_mtime_ns}\0".encode())
    return f"{classifier.hexdigest()}-{corpus.hexdigest() if files is not None else ''}"


@dataclass(frozen=True)
class Cache:
    """A folder of such files, as the public program keeps them.

    ``outputs.json`` notes which classifier and which recordings each was made with, and which activations the clusters are of; outputs that
    it says nothing of, such as a downloaded cache, are taken as they are.

    Args:
        folder: made by :meth:`open`.
    """

    folder: Path

    def paths(self, name: str) -> tuple[Path, Path]:
        """The two files."""
        return self.folder / f"{name}_probs.npy", self.folder / f"{name}_activations.npy"

    def get(self, name: str, digest: str) -> Outputs | None:
        """What is there, unless it was made with something else.

        Args:
            name: ``"train"`` or ``"test"``.
            digest: see :func:`digest_of`; without its second part the recordings are not there to compare with.

        Raises:
            DataError: the files are damaged.
        """
        paths = self.paths(name)
        if not all(path.is_file() for path in paths):
            return None
        noted = self._notes().get(name)
        if noted is None:
            log.warning("%s and %s are taken as they are: no %s beside them says what they were made of", *paths, NOTE)
        elif not noted.startswith(digest) or (noted != digest and not digest.endswith("-")):
            return None
        found = Outputs(*map(read_table, paths))
        return found if self._notes().get(name) == noted else None  # another process has begun to write others meanwhile

    def open(self) -> None:
        """Makes the folder.

        Raises:
            OSError: a file is in its place, or the disk refuses.
        """
        self.folder.mkdir(parents=True, exist_ok=True)

    def put(self, name: str, outputs: Outputs, digest: str) -> None:
        """Writes both files."""
        self._put(name, dict(zip(self.paths(name), (outputs.probabilities, outputs.activations), strict=True)), digest)

    def bins(self, activations: np.ndarray) -> TrainingBins:
        """The clusters of the training activations: those kept, if they are of these very numbers; otherwise new ones, which are kept.

        Args:
            activations: (n, D), n >= 50.

        Raises:
            DataError: the kept ones are damaged.
        """
        path, shape = self.folder / f"{CENTRES}.npy", (BINS, activations.shape[1])
        digest = hashlib.sha256(f"{activations.dtype}{activations.shape}".encode() + activations.tobytes()).hexdigest()
        if path.is_file() and self._notes().get(CENTRES) == digest:
            centres = read_table(path)
            if centres.shape == shape and self._notes().get(CENTRES) == digest:
                return TrainingBins(centres)
        bins = TrainingBins.of(activations)
        try:
            self._put(CENTRES, {path: bins.centres}, digest)
        except OSError as error:  # such as a downloaded cache that may only be read
            log.warning("the clusters of the training set are not kept in %s: %s", self.folder, error.strerror or error)
        return bins

    def _put(self, name: str, arrays: Mapping[Path, np.ndarray], digest: str) -> None:
        """One process after the other; the note says nothing true of the files until all are there."""
        self.open()
        with FileLock(self.folder / LOCK):
            self._note(name, UNFINISHED)
            for path, array in arrays.items():
                write_array(path, array)
            self._note(name, digest)

    def _note(self, name: str, digest: str) -> None:
        write_text(self.folder / NOTE, json.dumps({**self._notes(), name: digest}, indent=2) + "\n")

    def _notes(self) -> Mapping[str, str]:
        path = self.folder / NOTE
        try:
            notes = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        except ValueError:
            notes = None
        if not isinstance(notes, dict) or not all(isinstance(note, str) for note in notes.values()):
            raise DataError(f"{path} is damaged; remove it and the .npy files beside it")
        return notes
