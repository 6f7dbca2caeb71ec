"""What is trained on, and what is searched for what.

The queries of the evaluation are never trained on. All parts of QUESST 2014 share their documents; a share of them, and of the queries of
dev, is kept out of the training, and dev consists of these. A recording is kept out by the hash of its name, so that it stays so in every
run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from downstream.blocks.quesst import PARTS, Recording, ground_truth_folder, recordings
from utility.errors import DataError
from utility.metrics.detection_files import read_ground_truth

TRAIN = "train"
SPLITS = (TRAIN, *PARTS)
Pair = tuple[Recording, Recording]


@dataclass(frozen=True)
class Pairs:
    """What is trained on.

    Args:
        positives: queries with documents that hold them.
        documents: all documents of the training.
        targets: names of each query and each document that holds it.
    """

    positives: list[Pair]
    documents: list[Recording]
    targets: frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Search:
    """What is evaluated.

    Args:
        recordings: the queries, then the documents.
        unheard: names of the documents that the training does not hear.
    """

    recordings: list[Recording]
    unheard: frozenset[str]


def kept_out(names: Iterable[str], share: float) -> frozenset[str]:
    """That share of the names, one at least: those of the lowest hashes."""
    ranked = sorted(names, key=lambda name: hashlib.sha1(name.encode(), usedforsecurity=False).digest())
    return frozenset(ranked[: max(1, round(share * len(ranked)))])


def read_split(root: str | Path, split: str, language: str, held_out: float) -> Pairs | Search:
    """Pairs for ``"train"``, a search for every other split.

    Args:
        root: the folder quesst14Database.
        split: one of ``SPLITS``.
        language: as in :func:`downstream.blocks.quesst.recordings`.
        held_out: share of documents and of queries of dev that is not trained on, between 0 and 1.

    Raises:
        DataError: lists, audio files or ground truth are missing, or they hold nothing to train on or to choose a checkpoint by.
    """
    found = recordings(root, PARTS.get(split, "dev"), language)
    queries, documents = ([each for each in found if each.is_query is wanted] for wanted in (True, False))
    unheard = kept_out((document.name for document in documents), held_out)
    if split not in (TRAIN, "dev"):
        return Search(found, unheard)
    folder, names = ground_truth_folder(root, "dev"), {document.name for document in documents}
    targets = frozenset(pair for pair in read_ground_truth(folder).targets if pair[1] in names)
    occurring = {query for query, _ in targets}
    unasked = kept_out((query.name for query in queries if query.name in occurring), held_out)
    if split == TRAIN:
        queries = [query for query in queries if query.name not in unasked]
        return _pairs(queries, [document for document in documents if document.name not in unheard], targets, folder)
    if not any(query in unasked and document in unheard for query, document in targets):
        raise DataError(
            f"{folder}: no query that is held out of the training occurs in a document that is, so that dev has nothing to measure; "
            f"held_out is {held_out}, another share or more data may help"
        )
    return Search([each for each in found if each.name in unasked | unheard], unheard)


def _pairs(queries: list[Recording], documents: list[Recording], targets: frozenset[tuple[str, str]], folder: Path) -> Pairs:
    positives = [(query, document) for query in queries for document in documents if (query.name, document.name) in targets]
    if not positives:
        raise DataError(f"{folder}: no query of the training occurs in a document of the training, so that there is nothing to learn")
    counts: dict[str, int] = {}
    for query, _ in positives:
        counts[query.name] = counts.get(query.name, 0) + 1
    everywhere = [name for name, count in counts.items() if count == len(documents)]
    if everywhere:
        raise DataError(f"{folder}: the query {everywhere[0]} occurs in every document of the training, so that nothing tells it apart")
    return Pairs(positives, documents, targets)
