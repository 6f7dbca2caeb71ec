"""Datastores as files: HDF5 as SHEET has it (``embeds/<name>``, ``scores/<name>``), or ``.npz``, for which h5py is not needed."""

from __future__ import annotations

import zipfile
import zlib
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np

from utility.errors import DataError, MissingDependencyError
from utility.experiment.texts import write_whole

from .neighbours import Datastore

_DAMAGED = (KeyError, ValueError, TypeError, AttributeError, IndexError, EOFError, OSError, zipfile.BadZipFile, zlib.error)


def write_datastore(path: str | Path, store: Datastore) -> None:
    """Writes a file whole or not at all.

    Raises:
        MissingDependencyError: a path other than ``.npz`` without h5py.
        DataError: two utterances have one name.
    """
    if len(set(store.names)) < len(store.names):
        name = next(name for name, count in Counter(store.names).items() if count > 1)
        raise DataError(f"two utterances have the name {name} (system_id, underscore, sample_id), by which the datastore {path} knows them")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda part: _write_npz(part, store) if path.suffix == ".npz" else _write_h5(part, path, store))


def read_datastore(path: str | Path) -> Datastore:
    """Reads a file; entries come in the order of their names.

    Raises:
        DataError: it is missing, damaged, or no datastore.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"there is no datastore {path}; stage 3 of a recipe makes it")
    try:
        names, embeddings, scores = _read_npz(path) if path.suffix == ".npz" else _read_h5(path)
        vectors, numbers = np.asarray(embeddings, np.float32), np.asarray(scores, np.float64)
    except _DAMAGED as error:
        raise DataError(f"{path} is no datastore, or damaged: {str(error) or type(error).__name__}") from error
    if not names:
        raise DataError(f"the datastore {path} is empty")
    _check(path, names, vectors, numbers)
    order = sorted(range(len(names)), key=names.__getitem__)
    return Datastore([names[i] for i in order], vectors[order], numbers[order])


def _check(path: Path, names: list[str], vectors: np.ndarray, scores: np.ndarray) -> None:
    if not all(isinstance(name, str) for name in names) or vectors.shape[:1] != (len(names),) or vectors.ndim != 2:
        raise DataError(f"{path} is no datastore, or damaged: {len(names)} names have vectors of the shape {vectors.shape}")
    if scores.shape != (len(names),):
        raise DataError(f"{path} is no datastore, or damaged: {len(names)} names have scores of the shape {scores.shape}")
    whole = np.isfinite(vectors).all(1) & np.isfinite(scores)
    if not whole.all():
        raise DataError(f"the datastore {path} holds numbers that are not finite, of {names[int(whole.argmin())]}; make it anew")


def _write_npz(part: Path, store: Datastore) -> None:
    with part.open("wb") as file:
        np.savez(file, names=np.array(store.names), embeddings=store.embeddings, scores=store.scores)


def _write_h5(part: Path, path: Path, store: Datastore) -> None:
    with _h5py(path).File(part, "w") as file:
        for name, embedding, score in zip(store.names, store.embeddings, store.scores, strict=True):
            file[f"embeds/{_escaped(name)}"], file[f"scores/{_escaped(name)}"] = embedding, score


def _read_npz(path: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:  # numpy leaves a damaged file that it opened open
        return file["names"].tolist(), file["embeddings"], file["scores"]


def _read_h5(path: Path) -> tuple[list[str], list[np.ndarray], list[float]]:
    with _h5py(path).File(path, "r") as file:
        embeddings, scores = file["embeds"], file["scores"]
        names = list(embeddings.keys())
        return [_plain(name) for name in names], [embeddings[name][()] for name in names], [float(scores[name][()]) for name in names]


def _h5py(path: Path) -> ModuleType:
    try:
        import h5py
    except ImportError:
        raise MissingDependencyError("h5py", f"a datastore in HDF5 ({path.name}; one whose name ends in .npz does not)") from None
    return h5py


def _escaped(name: str) -> str:
    """HDF5 takes slashes for groups."""
    return name.replace("%", "%25").replace("/", "%2F")


def _plain(name: str) -> str:
    return name.replace("%2F", "/").replace("%25", "%")
