"""All scores of a set of generated recordings beside the training set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from utility.errors import DataError
from utility.metrics.generation.bins import BINS, TrainingBins, ndb_score
from utility.metrics.generation.frechet import frechet_distance
from utility.metrics.generation.inception import am_score, inception_score, modified_inception_score, released_inception_score

HIGHER_IS_BETTER = {"fid": False, "is": True, "is_released": True, "mis": True, "am": False, "ndb": False}
UNITS = {"fid": "squared distance", "is": "classes", "is_released": "classes", "mis": "ratio", "am": "nats", "ndb": "fraction"}


@dataclass(frozen=True)
class Outputs:
    """What a classifier says of a set of recordings, in the order of the recordings.

    Args:
        probabilities: (n, classes).
        activations: (n, D).

    Raises:
        DataError: not one row of each for each recording.
    """

    probabilities: np.ndarray
    activations: np.ndarray

    def __post_init__(self) -> None:
        if self.probabilities.ndim != 2 or self.activations.ndim != 2 or len(self.probabilities) != len(self.activations):
            raise DataError(
                f"probabilities {self.probabilities.shape} and activations {self.activations.shape} do not belong to the same recordings"
            )

    def __len__(self) -> int:
        return len(self.probabilities)

    def __getitem__(self, chosen: np.ndarray | slice) -> Outputs:
        return Outputs(self.probabilities[chosen], self.activations[chosen])


def measure(training: Outputs, generated: Outputs, bins: TrainingBins | None = None) -> dict[str, float]:
    """FID, both Inception Scores, mIS, AM and, where the training set has recordings enough for its bins, NDB.

    Args:
        training: the reference of all of them.
        generated: at least two recordings.
        bins: clusters of the training activations, if they are known already.

    Raises:
        DataError: too few recordings.
    """
    scores = {
        "fid": frechet_distance(generated.activations, training.activations),
        "is": inception_score(generated.probabilities),
        "is_released": released_inception_score(generated.probabilities),
        "mis": modified_inception_score(generated.probabilities),
        "am": am_score(training.probabilities, generated.probabilities),
    }
    if bins is not None or len(training) >= BINS:
        scores["ndb"] = ndb_score(training.activations, generated.activations, bins)
    return scores
