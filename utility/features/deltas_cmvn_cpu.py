"""Deltas and mean/variance normalisation of one utterance in place, on a CPU.

Deltas are many small steps, and NumPy's calls cost a fraction of PyTorch's; over the long axis PyTorch sums faster and more exactly.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from utility.features.deltas_cmvn import EPS


def fill_deltas(rows: Tensor, width: int, order: int, win_length: int) -> None:
    """Fills columns ``width`` ... of ``rows`` (T, width (order + 1)) with the deltas of the columns before; see ``add_deltas``."""
    if order == 0:
        return
    values, frames, reach = rows.numpy(), len(rows), (win_length - 1) // 2
    scale = np.float32(3.0 / (reach * (reach + 1) * (2 * reach + 1)))
    padded = np.empty((frames + 2 * reach, width), np.float32)
    multiple = np.empty_like(padded)
    for k in range(order):
        source, target = values[:, k * width : (k + 1) * width], values[:, (k + 1) * width : (k + 2) * width]
        np.multiply(source, scale, out=padded[reach : reach + frames])
        padded[:reach], padded[reach + frames :] = padded[reach], padded[reach + frames - 1]
        np.subtract(padded[reach + 1 :][:frames], padded[reach - 1 :][:frames], out=target)
        for n in range(2, reach + 1):
            np.multiply(padded, np.float32(n), out=multiple)
            target += multiple[reach + n :][:frames]
            target -= multiple[reach - n :][:frames]


def normalise(rows: Tensor) -> None:
    """CMVN of (T, D) in place; see ``cmvn``."""
    rows.sub_(rows.mean(0))
    variance = (rows * rows).sum(0).div_(max(1, len(rows) - 1))
    rows.mul_(variance.sqrt_().add_(EPS).reciprocal_())
