"""Scores of trials from the vectors of their recordings."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

BLOCK = 16384  # trials at a time; their vectors take 64 MB at a width of 512


def cosine_scores(vectors: Tensor, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The cosine of every trial, block by block.

    Args:
        vectors: (recordings, D) of length 1.
        first, second: (trials,) rows of ``vectors``.

    Returns:
        (trials,) float32.
    """
    left, right = torch.from_numpy(np.asarray(first)), torch.from_numpy(np.asarray(second))
    blocks = zip(left.split(BLOCK), right.split(BLOCK), strict=True)
    parts = [torch.linalg.vecdot(vectors[a], vectors[b]) for a, b in blocks]
    return torch.cat(parts).numpy() if parts else np.zeros(0, np.float32)
