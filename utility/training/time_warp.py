"""Where the frames of a time-warped batch come from: indices and weights of the interpolation along time.

The same as resizing each part of an utterance to its new number of frames as an image of unchanged width, with torch's conventions
(``align_corners=False``; cubic convolution with a = -0.75, Keys 1981; indices clamped at the ends of the part).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def warp_taps(lengths: Sequence[int], borders: Sequence[tuple[int, int]], mode: str) -> tuple[Tensor, Tensor]:
    """Source rows and their weights for every frame of a batch.

    Args:
        lengths: frames T_i of each utterance.
        borders: (c, r) of each: the frames before c are resized to r, the T_i - c others to T_i - r; c = r leaves it as it is.
        mode: one of ``WARP_MODES``.

    Returns:
        (sum of T_i, taps) int64 rows of the concatenated utterances, and float64 weights that sum to 1 in each row.
    """
    total, border, shifted = torch.tensor(lengths), *torch.tensor(borders).T
    source = torch.stack([border, total - border], dim=1).flatten()
    target = torch.stack([shifted, total - shifted], dim=1).flatten()
    part = torch.arange(len(source)).repeat_interleave(target)
    place = torch.arange(int(target.sum())) - (target.cumsum(0) - target)[part]
    size = source[part]
    rows, weights = _TAPS[mode](place, size / target.double()[part])
    first = (source.cumsum(0) - source)[part]
    return first[:, None] + torch.minimum(rows.clamp(min=0), size[:, None] - 1), weights


def _bicubic(place: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    where = (place + 0.5) * scale - 0.5
    whole = where.floor()
    offsets = torch.arange(-1, 3)
    distance = (where[:, None] - whole[:, None] - offsets).abs()
    a = -0.75
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((distance - 5) * distance + 8) * distance * a - 4 * a
    return whole.long()[:, None] + offsets, torch.where(distance <= 1, near, far)


def _bilinear(place: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    where = ((place + 0.5) * scale - 0.5).clamp(min=0)
    whole = where.floor()
    fraction = where - whole
    return whole.long()[:, None] + torch.arange(2), torch.stack([1 - fraction, fraction], dim=1)


def _nearest(place: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    rows = (place.float() * scale.float()).floor().long()[:, None]  # torch decides ties in single precision
    return rows, torch.ones_like(rows, dtype=torch.float64)


_TAPS: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {"bicubic": _bicubic, "bilinear": _bilinear, "nearest": _nearest}
WARP_MODES = tuple(_TAPS)
