"""Scores of trials from the vectors of their recordings."""

from __future__ import annotations

import numpy as np

BLOCK = 1024  # trials at a time: their vectors stay in the cache


def cosine_scores(vectors: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The cosine of every trial, block by block.

    A list of trials asks for few of all possible pairs, so that this is much quicker than the product of all vectors with all
    (tests/benchmarks/verification.py).

    Args:
        vectors: (recordings, D) float32 of length 1.
        first, second: (trials,) rows of ``vectors``.

    Returns:
        (trials,) float32.
    """
    scores = np.empty(len(first), np.float32)
    for start in range(0, len(scores), BLOCK):
        block = slice(start, start + BLOCK)
        np.einsum("nd,nd->n", vectors[first[block]], vectors[second[block]], out=scores[block])
    return scores
