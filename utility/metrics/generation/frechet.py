"""Frechet distance between two sets of activations, each taken as a Gaussian (FID with a classifier of one's own)."""

from __future__ import annotations

import numpy as np

from utility.errors import DataError


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """``|m1 - m2|^2 + Tr(S1 + S2 - 2 (S1 S2)^(1/2))`` with sample covariances.

    The trace of the square root is the sum of the square roots of the eigenvalues of ``S1^(1/2) S2 S1^(1/2)``, which is symmetric: it is
    real and finite for singular covariances too, where the square root of the product itself is neither.

    Args:
        first, second: (n1, D) and (n2, D), at least two rows each.

    Raises:
        DataError: too few rows, another D, or numbers that are not finite.
    """
    first, second = (np.asarray(side, dtype=np.float64) for side in (first, second))
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise DataError(f"activations of the shapes {first.shape} and {second.shape} cannot be compared")
    for side in (first, second):
        if len(side) < 2:
            raise DataError(f"FID needs at least 2 recordings on each side, not {len(side)}")
        if not np.isfinite(side).all():
            raise DataError("FID needs finite activations")
    root = _root(np.atleast_2d(np.cov(first, rowvar=False)))
    other = np.atleast_2d(np.cov(second, rowvar=False))
    shared = np.sqrt(np.linalg.eigvalsh(root @ other @ root).clip(min=0)).sum()
    between = first.mean(axis=0) - second.mean(axis=0)
    return float(between @ between + np.square(root).sum() + np.trace(other) - 2 * shared)


def _root(matrix: np.ndarray) -> np.ndarray:
    """The symmetric square root of a covariance."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
