"""Non-parametric prediction: the scores of the nearest training utterances count (RAMP, Wang et al., Interspeech 2023)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from utility.errors import DataError, UnknownNameError

K = 60
BLOCK = 1024  # queries at a time, so that memory is bounded by BLOCK times the entries
WEIGHTINGS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "negative_distance": lambda squared, temperature: (-squared / temperature).softmax(-1),
    "inverse_distance": lambda squared, temperature: (1 / (squared + 1e-8) / temperature).softmax(-1),
}
"""By name: SHEET's since February 2025, and the one before, with which the numbers of the MOS-Bench paper were made."""


@dataclass(frozen=True)
class Datastore:
    """Mean-pooled representations of training utterances with their scores.

    Args:
        names: ``<system_id>_<sample_id>``.
        embeddings: (N, D) float32.
        scores: (N,) float64.
    """

    names: list[str]
    embeddings: np.ndarray
    scores: np.ndarray

    def __post_init__(self) -> None:
        if not self.names:
            raise DataError("the datastore is empty: there is no training utterance to compare with")

    def domain_of(self, entry: int) -> int:
        """The data set of an entry of a pool, which its name begins with.

        Raises:
            DataError: the entry is not of a pool.
        """
        number = self.names[entry].split("_", 1)[0]
        if not number.isdigit():
            raise DataError(f"the entry {self.names[entry]!r} of the datastore names no data set of a pool: domain_id_knn_1 needs one")
        return int(number)


@dataclass(frozen=True)
class Neighbours:
    """The nearest entries of each query, nearest first: (Q, k) squared distances and indices."""

    squared: Tensor
    indices: Tensor


def search(store: Datastore, queries: Tensor, k: int = K) -> Neighbours:
    """Exact search by squared Euclidean distance, on the queries' device.

    Args:
        queries: (Q, D).
        k: how many; all entries where there are fewer.
    """
    entries = torch.as_tensor(store.embeddings, dtype=queries.dtype, device=queries.device)
    if queries.size(1) != entries.size(1):
        raise DataError(
            f"the datastore holds vectors of {entries.size(1)} numbers, the predictor makes {queries.size(1)}: it is another model's"
        )
    centre = entries.mean(0)  # distances of vectors far from the origin would lose their digits in the sum of squares
    entries, queries = entries - centre, queries - centre
    norms, k = entries.square().sum(1), min(k, len(entries))
    found = []
    for block in queries.split(BLOCK):
        rough = norms - 2 * block @ entries.T
        indices = rough.topk(min(len(entries), k + 8), largest=False).indices
        exact = (entries[indices] - block[:, None]).square().sum(-1)
        order = exact.sort(dim=1, stable=True)
        found.append((order.values[:, :k], indices.gather(1, order.indices[:, :k])))
    return Neighbours(torch.cat([squared for squared, _ in found]), torch.cat([indices for _, indices in found]))


def naive_knn(store: Datastore, queries: Tensor, k: int = K, weighting: str = "negative_distance", temperature: float = 1.0) -> np.ndarray:
    """(Q,) scores: those of the k nearest entries, weighted by their distances.

    Raises:
        UnknownNameError: of the weighting.
    """
    if weighting not in WEIGHTINGS:
        raise UnknownNameError("weighting", weighting, WEIGHTINGS)
    found = search(store, queries, k)
    weights = WEIGHTINGS[weighting](found.squared, temperature).double().cpu().numpy()
    return (weights * store.scores[found.indices.cpu().numpy()]).sum(1)


def nearest_domains(store: Datastore, queries: Tensor) -> tuple[list[int], list[str]]:
    """The data set of each query's nearest entry, and that entry's name."""
    nearest = search(store, queries, 1).indices[:, 0].tolist()
    return [store.domain_of(entry) for entry in nearest], [store.names[entry] for entry in nearest]
