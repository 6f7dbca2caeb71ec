"""Non-parametric prediction: the scores of the nearest training utterances count (RAMP, Wang et al., Interspeech 2023)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from utility.errors import DataError, MissingDependencyError, UnknownNameError

K = 60
NUMBERS = 2**27  # of rough distances, or of candidates' vectors, at a time: as many queries as that allows are looked up together
SPARE = 8  # candidates beside the k, whose rough distances may be in another order than the exact ones
PART = 65536  # entries at a time that faiss copies
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
    """The nearest entries of each query, nearest first, equally near ones in the store's order: (Q, k) squared distances and indices."""

    squared: Tensor
    indices: Tensor


class Index:
    """A datastore, prepared once for any number of searches by squared Euclidean distance.

    ``torch`` and ``faiss`` only draw up who comes into question; the distances are computed of these alone, by subtraction, so that both
    give the same. Where more than ``SPARE`` entries are as near as the last of the k, which of them are found is open.

    Args:
        store: the datastore.
        by: ``torch``, on ``device``, which holds the vectors twice; or ``faiss`` (IndexFlatL2), on the CPU, with a copy of the vectors.
        device: of torch's search.

    Raises:
        UnknownNameError: of the search.
        MissingDependencyError: faiss is not installed.
    """

    def __init__(self, store: Datastore, by: str = "torch", device: torch.device | str = "cpu"):
        if by not in SEARCHES:
            raise UnknownNameError("search", str(by), SEARCHES)
        self.store = store
        self.entries = torch.as_tensor(store.embeddings, dtype=torch.float32, device="cpu" if by == "faiss" else device)
        self.centre = self.entries.mean(0)  # distances of vectors far from the origin would lose their digits in the sum of squares
        self._candidates = SEARCHES[by](self.entries, self.centre)
        self._distances = len(self.entries) if by == "torch" else 0  # that a query takes

    def nearest(self, queries: Tensor, k: int = K) -> Neighbours:
        """The nearest entries, on the queries' device.

        Args:
            queries: (Q, D).
            k: how many; all entries where there are fewer.

        Raises:
            DataError: the entries have another width.
        """
        width = self.entries.size(1)
        if queries.size(1) != width:
            raise DataError(f"the datastore holds vectors of {width} numbers, the predictor makes {queries.size(1)}: it is another model's")
        together = max(1, NUMBERS // max(self._distances, (k + SPARE) * width))
        found = [self._of_block(block, min(k, len(self.entries))) for block in queries.to(self.entries).split(together)]
        squared, indices = (torch.cat(parts).to(queries.device) for parts in zip(*found, strict=True))
        return Neighbours(squared, indices)

    def _of_block(self, block: Tensor, k: int) -> tuple[Tensor, Tensor]:
        candidates = self._candidates(block - self.centre, min(len(self.entries), k + SPARE)).sort(1).values
        exact = (self.entries[candidates] - block[:, None]).square().sum(-1)
        order = exact.sort(dim=1, stable=True)
        return order.values[:, :k], candidates.gather(1, order.indices[:, :k])


def naive_knn(index: Index, queries: Tensor, k: int = K, weighting: str = "negative_distance", temperature: float = 1.0) -> np.ndarray:
    """(Q,) scores: those of the k nearest entries, weighted by their distances.

    Raises:
        UnknownNameError: of the weighting.
    """
    if weighting not in WEIGHTINGS:
        raise UnknownNameError("weighting", weighting, WEIGHTINGS)
    found = index.nearest(queries, k)
    weights = WEIGHTINGS[weighting](found.squared, temperature).double().cpu().numpy()
    return (weights * index.store.scores[found.indices.cpu().numpy()]).sum(1)


def nearest_domains(index: Index, queries: Tensor) -> tuple[list[int], list[str]]:
    """The data set of each query's nearest entry, and that entry's name."""
    nearest = index.nearest(queries, 1).indices[:, 0].tolist()
    return [index.store.domain_of(entry) for entry in nearest], [index.store.names[entry] for entry in nearest]


Candidates = Callable[[Tensor, int], Tensor]


def _by_torch(entries: Tensor, centre: Tensor) -> Candidates:
    centred = entries - centre
    norms = centred.square().sum(1)
    return lambda block, count: torch.addmm(norms, block, centred.T, alpha=-2).topk(count, largest=False).indices


def _by_faiss(entries: Tensor, centre: Tensor) -> Candidates:
    try:
        import faiss
    except ImportError:
        raise MissingDependencyError("faiss-cpu", "inference.search: faiss") from None
    index = faiss.IndexFlatL2(entries.size(1))
    for part in entries.split(PART):
        index.add((part - centre).numpy())
    return lambda block, count: torch.from_numpy(index.search(block.numpy(), count)[1])


SEARCHES: dict[str, Callable[[Tensor, Tensor], Candidates]] = {"torch": _by_torch, "faiss": _by_faiss}
"""By name: from (N, D) entries and their mean to what finds the (Q, count) entries that are nearest to (Q, D) centred queries."""
