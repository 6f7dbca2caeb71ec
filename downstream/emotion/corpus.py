"""IEMOCAP by its lists of five folds (spec: downstream-speaker.md 7).

<meta_data>/Session<k>/train_meta_data.json     all sessions but the k-th: training and dev of fold k
<meta_data>/Session<k>/test_meta_data.json      session k

{"labels": {"neu": 0, ...}, "meta_data": [{"path": "Session1/...wav", "label": "neu", "speaker": "Ses01F"}, ...]}
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from downstream.blocks.recordings import Recording, check_recordings
from utility.errors import DataError, UnknownNameError, did_you_mean
from utility.text.files import naming, read_lines

FIELD = "config.downstream_expert.datarc.meta_data"
CLASSES = ("neu", "hap", "ang", "sad")
_HINT = (
    "python3 preprocess/fetch_lists.py --only emotion fetches the official lists, "
    "python3 preprocess/IEMOCAP_preprocess.py ROOT makes lists from the corpus in ROOT/meta_data"
)
_SPLIT_SEED = 0


def folds_in(meta_data: Path) -> list[str]:
    """The folds that there are lists for: ``fold1`` ...

    Raises:
        DataError: there is none.
    """
    found = sorted(int(path.parent.name[7:]) for path in meta_data.glob("Session*/train_meta_data.json") if path.parent.name[7:].isdigit())
    if not found:
        raise DataError(f"{FIELD}: {meta_data} has no Session1/train_meta_data.json; {_HINT}")
    return [f"fold{number}" for number in found]


def list_of(meta_data: Path, fold: str, part: str) -> Path:
    """Where a list of a fold lies.

    Args:
        meta_data: the folder of all lists.
        fold: ``"fold1"`` ...
        part: ``"train"`` or ``"test"``.

    Raises:
        DataError: there are no lists.
        UnknownNameError: there are none of this fold.
    """
    if fold not in (known := folds_in(meta_data)):
        raise UnknownNameError("fold", fold, known)
    return meta_data / f"Session{fold.removeprefix('fold')}" / f"{part}_meta_data.json"


def read_list(path: Path) -> tuple[dict[str, int], list[dict[str, str]]]:
    """The numbers of the classes, and the entries.

    Raises:
        DataError: the list is missing, is no JSON of the form above, or empty.
    """
    name = naming(path, "list", FIELD)
    try:
        content = json.loads("\n".join(read_lines(path, "list", FIELD, _HINT)))
    except ValueError as error:
        raise DataError(f"{name} is no JSON: {error}") from error
    labels, entries = (content.get("labels"), content.get("meta_data")) if isinstance(content, dict) else (None, None)
    if not isinstance(labels, dict) or sorted(labels.values(), key=str) != list(range(len(labels))):
        raise DataError(f"{name} does not number its labels from 0 on")
    if not isinstance(entries, list) or not entries:
        raise DataError(f"{name} has no entries in meta_data")
    for number, entry in enumerate(entries):
        _check(entry, labels, f"{name}: entry {number}")
    return labels, entries


def _check(entry: Any, labels: Mapping[str, int], where: str) -> None:
    if not isinstance(entry, dict) or not isinstance(entry.get("path"), str):
        raise DataError(f"{where} has no path")
    if entry.get("label") not in labels:
        raise DataError(f"{where} has the label {entry.get('label')!r}{did_you_mean(str(entry.get('label')), labels)}")


def classes_of(labels: Mapping[str, int]) -> list[str]:
    """The classes in the order of their numbers."""
    return sorted(labels, key=labels.__getitem__)


def split_indices(entries: int, valid_ratio: float) -> tuple[list[int], list[int]]:
    """Which entries of a list are for training and which for dev: S3PRL's split, which is drawn with seed 0 whatever the run's.

    The order is a permutation by torch's generator on the CPU; the run's own generator is left alone.

    Args:
        entries: how many there are.
        valid_ratio: the part that goes to dev.
    """
    size = int((1 - valid_ratio) * entries)
    order = torch.randperm(entries, generator=torch.Generator().manual_seed(_SPLIT_SEED)).tolist()
    return order[:size], order[size:]


def recordings_of(root: str | Path, meta_data: Path, fold: str, split: str, valid_ratio: float, classes: Sequence[str]) -> list[Recording]:
    """The items of a split, which files of answers call by the stems of their files.

    Args:
        root: the corpus.
        meta_data, fold: as for :func:`list_of`.
        split: ``"train"``, ``"dev"`` or ``"test"``.
        valid_ratio: see :func:`split_indices`.
        classes: in the order of the outputs.

    Raises:
        DataError: lists or recordings are missing, an emotion is none of the classes, or the split has no item.
        UnknownNameError: there are no lists of this fold.
    """
    path = list_of(meta_data, fold, "test" if split == "test" else "train")
    _, entries = read_list(path)
    chosen = entries
    if split != "test":
        chosen = [entries[index] for index in split_indices(len(entries), valid_ratio)[split == "dev"]]
    if not chosen:
        raise DataError(f"{naming(path, 'list', FIELD)} has {len(entries)} entries, too few for a split {split}")
    numbers = {name: number for number, name in enumerate(classes)}
    if unknown := [entry["label"] for entry in chosen if entry["label"] not in numbers]:
        raise DataError(f"{naming(path, 'list', FIELD)}: no training has the label {unknown[0]!r}{did_you_mean(unknown[0], classes)}")
    check_recordings(root, (entry["path"] for entry in chosen), naming(path, "list", FIELD))
    return [Recording(str(Path(root, e["path"])), numbers[e["label"]], PurePosixPath(e["path"]).stem) for e in chosen]
