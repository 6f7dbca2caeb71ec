"""Which part of the samples to keep, when they are sorted by their likelihood: tuned on one half, scored on the other.

Samples of the lowest and of the highest likelihood sound worse than the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from utility.errors import DataError
from utility.metrics.generation.inception import PAIRS, SEED, released_inception_score
from utility.metrics.generation.report import Outputs

LOWER = tuple(0.1 * step for step in range(5))
UPPER = tuple(0.6 + 0.05 * step for step in range(8))
RELEASED = (0.4, 0.95)


@dataclass(frozen=True)
class Tuned:
    """The halves and the choice.

    Args:
        tuning, held_out: (n/2,) numbers of the samples, ascending in likelihood.
        grid: rows of lower, upper and the score on the tuning half.
        bounds: (rows, 2), what is kept of a half for each row, first and behind the last.
        best: the row of the highest score.
        released: the row that the released program takes whatever the scores are: the last, (0.4, 0.95).
    """

    tuning: np.ndarray
    held_out: np.ndarray
    grid: np.ndarray
    bounds: np.ndarray

    @property
    def best(self) -> int:
        return int(self.grid[:, 2].argmax())

    @property
    def released(self) -> int:
        return len(self.grid) - 1

    def kept(self, row: int) -> np.ndarray:
        """The numbers of the held-out samples that a row of the grid keeps."""
        first, last = self.bounds[row]
        return self.held_out[first:last]


def tune_thresholds(samples: Outputs, tests: int) -> Tuned:
    """Splits the samples at random and scores each pair of thresholds on the first half.

    Args:
        samples: in ascending order of likelihood.
        tests: how many recordings the test set has, on which the draws of the released program depend: its random numbers come behind those
            of the test set's mIS.

    Raises:
        DataError: fewer than 20 samples, so that some pair would keep nothing to score.
    """
    n = len(samples)
    if n < 20:
        raise DataError(f"thresholds cannot be tuned on {n} samples; at least 20 are needed, and 10240 are usual")
    rng = np.random.RandomState(SEED)
    rng.randint(0, tests, size=(PAIRS, 2))
    tuning = np.sort(rng.choice(n, n // 2, replace=False))
    held_out = np.setdiff1d(np.arange(n), tuning)
    probabilities = samples.probabilities[tuning]
    pairs = [(lower, upper) for lower in LOWER for upper in UPPER]
    bounds = np.array([[int(lower * len(tuning)), int(upper * len(tuning))] for lower, upper in pairs])
    scores = [released_inception_score(probabilities[first:last]) for first, last in bounds]
    return Tuned(tuning, held_out, np.column_stack([pairs, scores]), bounds)
