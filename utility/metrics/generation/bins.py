"""Number of statistically different bins (NDB): which kinds of recordings are generated too often or too rarely."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from utility.errors import DataError

BINS, SEED, LEVEL = 50, 0, 0.05


@dataclass(frozen=True)
class TrainingBins:
    """Clusters of the training activations.

    Args:
        centres: (bins, D).
    """

    centres: np.ndarray

    @classmethod
    def of(cls, activations: np.ndarray, bins: int = BINS, seed: int = SEED) -> TrainingBins:
        """k-means with ten starts, which was scikit-learn's own number when the figures were published.

        Args:
            activations: (n, D) of the training set, n >= bins.
            bins: number of clusters.
            seed: of the starts.

        Raises:
            DataError: fewer recordings than bins.
        """
        from sklearn.cluster import KMeans

        if len(activations) < bins:
            raise DataError(f"{bins} bins need at least as many recordings of the training set, not {len(activations)}")
        fitted = KMeans(n_clusters=bins, random_state=seed, n_init=10).fit(np.asarray(activations, dtype=np.float64))
        return cls(fitted.cluster_centers_)

    def labels(self, activations: np.ndarray) -> np.ndarray:
        """(n, D) -> (n,) numbers of the nearest centres."""
        rows = np.asarray(activations, dtype=np.float64)
        distances = np.square(self.centres).sum(axis=1) - 2 * rows @ self.centres.T
        return distances.argmin(axis=1)

    def counts(self, activations: np.ndarray) -> np.ndarray:
        """(n, D) -> (bins,) how many fall into each bin."""
        return np.bincount(self.labels(activations), minlength=len(self.centres))


def different_bins(first: np.ndarray, second: np.ndarray, level: float = LEVEL) -> np.ndarray:
    """Two-proportion z-test of each bin, pooled and two-tailed.

    Args:
        first, second: (bins,) counts.
        level: of significance.

    Returns:
        (bins,) flags; a bin that is empty, or holds everything, on both sides does not differ.
    """
    n1, n2 = first.sum(), second.sum()
    pooled = (first + second) / (n1 + n2)
    error = np.sqrt(pooled * (1 - pooled) * (1 / n1 + 1 / n2))
    difference = first / n1 - second / n2
    z = np.divide(difference, error, out=np.zeros(len(first)), where=error > 0)
    return 2 * norm.sf(np.abs(z)) < level


def ndb_score(training: np.ndarray, generated: np.ndarray, bins: TrainingBins | None = None) -> float:
    """The part of the bins whose share differs; 0 is best.

    Args:
        training, generated: activations (n1, D), (n2, D).
        bins: clusters of the training activations, if they are known already.

    Raises:
        DataError: fewer training recordings than bins, or nothing generated.
    """
    if not len(generated):
        raise DataError("NDB needs at least one generated recording")
    bins = bins or TrainingBins.of(training)
    return float(different_bins(bins.counts(training), bins.counts(generated)).mean())
