"""Distances between the frames of a query and of a document, as matrix products where the metric allows.

Values are those of ``scipy.spatial.distance.cdist`` in float64 on the same frames. Two kinds are S3PRL's own, of the cosine distance d:
``cosine_exp`` = exp(d) - 1 and ``cosine_neg_log`` = -ln(1 - d), which is infinite where the cosine is not positive.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from utility.errors import ConfigError, DataError, UnknownNameError

Between = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Metric:
    """A distance between frames.

    Args:
        name: as in the config.
        prepare: (T, D) frames -> what ``between`` takes of them, done once per recording.
        between: prepared (N, D) and (M, D) -> (N, M) float64; NaN or infinite where it is not defined.
        may_be_infinite: frames at an infinite distance are merely passed by.
    """

    name: str
    prepare: Callable[[np.ndarray], np.ndarray]
    between: Between
    may_be_infinite: bool = False

    def distances(self, query: np.ndarray, document: np.ndarray) -> np.ndarray:
        """What ``between`` gives.

        Raises:
            DataError: some of it is not defined, such as the correlation with a frame of equal numbers.
        """
        found = self.between(query, document)
        total = found.sum()  # finite only if all of them are
        if np.isnan(total) or (np.isinf(total) and not self.may_be_infinite):
            raise self.undefined()
        return found

    def undefined(self) -> DataError:
        """The error for features between which there is no distance, or no finite one where that is needed."""
        needs = "; it needs positive cosines, as posteriors have them" if self.may_be_infinite else ""
        return DataError(f"dist_method {self.name!r} is not defined for some of these features{needs}")


def metric_named(name: str, source: str = "dtwrc") -> Metric:
    """The metric of this name: one of ``OWN``, or any that ``cdist`` knows and that compares two frames alone.

    Args:
        name: as in the config.
        source: what an error calls the section.

    Raises:
        UnknownNameError: no such metric.
        ConfigError: it scales by the frames of a whole set, and sets are no more than the blocks and groups in which a search is done.
    """
    if name in OWN:
        return OWN[name]
    if str(name).lower().removeprefix("test_") in _OF_SETS:
        raise ConfigError(
            f"dist_method {name!r} is no distance between two frames, since it depends on all that are compared together; "
            "euclidean with feature_normalization: True scales all dimensions alike",
            source,
        )
    from scipy.spatial.distance import cdist

    try:
        cdist(np.eye(3), np.eye(3), metric=name)
    except (ValueError, TypeError) as error:
        raise UnknownNameError("dist_method", str(name), [*OWN, *_OF_SCIPY]) from error

    def between(query: np.ndarray, document: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return cdist(query, document, metric=name)

    return Metric(name, _as_float64, between)


def _as_float64(frames: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(frames, dtype=np.float64)


def _unit(frames: np.ndarray) -> np.ndarray:
    """Frames of length one; a frame of zeros stays, and is at distance 1 from everything."""
    frames = _as_float64(frames)
    return frames / np.maximum(np.linalg.norm(frames, axis=1, keepdims=True), np.finfo(np.float64).tiny)


def _cosine(query: np.ndarray, document: np.ndarray) -> np.ndarray:
    product = query @ document.T
    return np.subtract(1.0, product, out=product)


def _cosine_exp(query: np.ndarray, document: np.ndarray) -> np.ndarray:
    distance = _cosine(query, document)
    np.exp(distance, out=distance)
    return np.subtract(distance, 1.0, out=distance)


def _cosine_neg_log(query: np.ndarray, document: np.ndarray) -> np.ndarray:
    cosine = query @ document.T
    with np.errstate(divide="ignore"):
        return -np.log(np.maximum(cosine, 0.0, out=cosine))


def _sqeuclidean(query: np.ndarray, document: np.ndarray) -> np.ndarray:
    distance = query @ document.T
    distance *= -2
    distance += np.square(query).sum(axis=1)[:, None]
    distance += np.square(document).sum(axis=1)
    return np.maximum(distance, 0.0, out=distance)


def _euclidean(query: np.ndarray, document: np.ndarray) -> np.ndarray:
    distance = _sqeuclidean(query, document)
    return np.sqrt(distance, out=distance)


OWN = {
    metric.name: metric
    for metric in (
        Metric("cosine_exp", _unit, _cosine_exp),
        Metric("cosine_neg_log", _unit, _cosine_neg_log, may_be_infinite=True),
        Metric("cosine", _unit, _cosine),
        Metric("euclidean", _as_float64, _euclidean),
        Metric("sqeuclidean", _as_float64, _sqeuclidean),
    )
}
_OF_SCIPY = ("braycurtis", "canberra", "chebyshev", "cityblock", "correlation", "jensenshannon")
_OF_SETS = ("seuclidean", "se", "s", "mahalanobis", "mahal", "mah")  # with scipy's other names for them
