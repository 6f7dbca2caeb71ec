"""Deltas and mean/variance normalisation of one utterance in place, in blocks of frames that stay in the cache, on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor

from upstream.blocks.deltas_cmvn import EPS
from upstream.blocks.power_cpu import BLOCK


def fill_deltas(rows: Tensor, width: int, order: int, win_length: int) -> None:
    """Fills columns ``width`` ... of ``rows`` (T, width (order + 1)) with the deltas of the columns before; see ``add_deltas``."""
    if order == 0:
        return
    frames, reach = len(rows), (win_length - 1) // 2
    padded = rows.new_empty(frames + 2 * reach, width)
    scale = 3.0 / (reach * (reach + 1) * (2 * reach + 1))
    for k in range(order):
        source, target = rows[:, k * width : (k + 1) * width], rows[:, (k + 1) * width : (k + 2) * width]
        torch.mul(source, scale, out=padded[reach : reach + frames])
        padded[:reach], padded[reach + frames :] = padded[reach], padded[reach + frames - 1]
        torch.sub(padded[reach + 1 :][:frames], padded[reach - 1 :][:frames], out=target)
        for n in range(2, reach + 1):
            target.add_(padded[reach + n :][:frames], alpha=n).sub_(padded[reach - n :][:frames], alpha=n)


def normalise(rows: Tensor) -> None:
    """CMVN of (T, D) in place; see ``cmvn``."""
    blocks = rows.split(BLOCK)
    mean = sum(block.sum(0) for block in blocks).div_(len(rows))
    squares = sum(_squares(block.sub_(mean)) for block in blocks)
    scale = squares.div_(max(1, len(rows) - 1)).sqrt_().add_(EPS).reciprocal_()
    for block in blocks:
        block.mul_(scale)


def _squares(block: Tensor) -> Tensor:
    """Sum of squares over the rows."""
    return (block * block).sum(0)
