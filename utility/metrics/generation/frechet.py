"""Frechet distance between two sets of activations, each taken as a Gaussian (FID with a classifier of one's own)."""

from __future__ import annotations

import numpy as np

from utility.errors import DataError


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """``|m1 - m2|^2 + Tr(S1 + S2 - 2 (S1 S2)^(1/2))`` with sample covariances.

    The trace of the square root is the sum of the singular values of ``R1 R2^T``, where R^T R is a covariance: it is real and finite for
    singular covariances too, where the square root of the product itself is neither.

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
    roots = [_root(side) for side in (first, second)]
    shared = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    between = first.mean(axis=0) - second.mean(axis=0)
    return float(between @ between + sum(np.square(root).sum() for root in roots) - 2 * shared)


def _root(rows: np.ndarray) -> np.ndarray:
    """(n, D) -> R (min(n, D), D), with R^T R the covariance."""
    return np.linalg.qr((rows - rows.mean(axis=0)) / np.sqrt(len(rows) - 1), mode="r")
