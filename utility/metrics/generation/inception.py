"""Scores of class probabilities: Inception Score, modified Inception Score, AM score."""

from __future__ import annotations

import numpy as np
from scipy.special import rel_entr

from utility.errors import DataError

PAIRS = 10000
SEED = 0


def inception_score(probabilities: np.ndarray) -> float:
    """``exp(mean_x KL(p(y|x) || p(y)))``, the published formula; 1 to the number of classes.

    Args:
        probabilities: (n, classes), rows that sum to 1.

    Raises:
        DataError: not such an array.
    """
    rows = checked(probabilities)
    return float(np.exp(_divergence(rows, rows.mean(axis=0)).mean()))


def released_inception_score(probabilities: np.ndarray) -> float:
    """What SaShiMi's released program prints as Inception Score, and what is published of it.

    It takes the divergence over the recordings in place of the classes, of a random half of them: ``exp(mean_c KL(p(x|c) || uniform))``.
    For balanced classes it is near :func:`inception_score`; otherwise it differs, and may exceed the number of classes.

    Args:
        probabilities: (n, classes), n >= 2.

    Raises:
        DataError: not such an array.
    """
    rows = checked(probabilities, least=2)
    half = rows[np.random.RandomState(SEED).permutation(len(rows))[: len(rows) // 2]]
    columns = (half / half.sum(axis=0)).T
    return float(np.exp(_divergence(columns, np.full(columns.shape[1], 1 / columns.shape[1])).mean()))


def modified_inception_score(probabilities: np.ndarray, rng: np.random.RandomState | None = None) -> float:
    """``exp(mean KL(p(y|x_i) || p(y|x_j)))`` over 10000 pairs, drawn with replacement: diversity within classes counts too.

    Args:
        probabilities: (n, classes).
        rng: draws the pairs; seeded with 0 by default, as in the released program.

    Raises:
        DataError: not such an array.
    """
    rows = checked(probabilities)
    pairs = (rng or np.random.RandomState(SEED)).randint(0, len(rows), size=(PAIRS, 2))
    return float(np.exp(_divergence(rows[pairs[:, 0]], rows[pairs[:, 1]]).mean()))


def am_score(training: np.ndarray, generated: np.ndarray) -> float:
    """``KL(p_training(y) || p_generated(y)) + mean_x H(p(y|x))`` of the generated ones, in nats.

    Args:
        training, generated: (n1, classes) and (n2, classes).

    Raises:
        DataError: not such arrays, or other classes.
    """
    training, generated = checked(training), checked(generated)
    if training.shape[1] != generated.shape[1]:
        raise DataError(f"probabilities of {training.shape[1]} and of {generated.shape[1]} classes cannot be compared")
    between = _divergence(training.mean(axis=0), generated.mean(axis=0))
    return float(between - (generated * np.log(generated)).sum(axis=1).mean())


def checked(probabilities: np.ndarray, least: int = 1) -> np.ndarray:
    """(n, classes) in double precision, rows brought to the sum of 1, zeros to the smallest number above.

    Raises:
        DataError: fewer rows than ``least``, negative numbers, or rows that do not sum to 1.
    """
    rows = np.asarray(probabilities, dtype=np.float64)
    if rows.ndim != 2 or len(rows) < least:
        raise DataError(f"class probabilities must be a table of at least {least} rows, not an array of shape {rows.shape}")
    sums = rows.sum(axis=1, keepdims=True)
    if not np.isfinite(rows).all() or rows.min() < 0 or abs(sums - 1).max() > 1e-2:
        raise DataError("class probabilities must be from 0 to 1 and sum to 1 in each row")
    return (rows / sums).clip(min=np.finfo(np.float64).tiny)


def _divergence(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """KL(row || other) over the last axis, in nats."""
    return rel_entr(rows, others).sum(axis=-1)
