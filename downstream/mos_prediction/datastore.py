"""Datastores as files: HDF5 as SHEET has it (``embeds/<name>``, ``scores/<name>``), or ``.npz``, for which h5py is not needed."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np

from utility.errors import DataError, MissingDependencyError
from utility.experiment.texts import write_whole

from .neighbours import Datastore


def write_datastore(path: str | Path, store: Datastore) -> None:
    """Writes a file whole or not at all.

    Raises:
        MissingDependencyError: a path other than ``.npz`` without h5py.
    """
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
    names, embeddings, scores = _read_npz(path) if path.suffix == ".npz" else _read_h5(path)
    order = sorted(range(len(names)), key=names.__getitem__)
    if not order:
        raise DataError(f"the datastore {path} is empty")
    return Datastore([names[i] for i in order], np.asarray(embeddings, np.float32)[order], np.asarray(scores, np.float64)[order])


def _write_npz(part: Path, store: Datastore) -> None:
    with part.open("wb") as file:
        np.savez(file, names=np.array(store.names), embeddings=store.embeddings, scores=store.scores)


def _write_h5(part: Path, path: Path, store: Datastore) -> None:
    with _h5py(path).File(part, "w") as file:
        for name, embedding, score in zip(store.names, store.embeddings, store.scores, strict=True):
            file[f"embeds/{_escaped(name)}"], file[f"scores/{_escaped(name)}"] = embedding, score


def _read_npz(path: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return file["names"].tolist(), file["embeddings"], file["scores"]
    except (KeyError, ValueError, OSError) as error:
        raise DataError(f"{path} is no datastore, or damaged: {error}") from error


def _read_h5(path: Path) -> tuple[list[str], list[np.ndarray], list[float]]:
    try:
        with _h5py(path).File(path, "r") as file:
            names = list(file["embeds"])
            return [_plain(name) for name in names], [file["embeds"][n][()] for n in names], [float(file["scores"][n][()]) for n in names]
    except (KeyError, OSError) as error:
        raise DataError(f"{path} is no datastore, or damaged: {error}") from error


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
