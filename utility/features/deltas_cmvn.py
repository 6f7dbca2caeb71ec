"""Deltas and mean/variance normalisation of padded features, on any device.

For one utterance alone, pass it as a batch of one.
"""

from __future__ import annotations

import torch
from torch import Tensor

EPS = 1e-10


def frame_mask(lengths: Tensor, frames: int) -> Tensor:
    """(B, T) True where a frame belongs to its utterance."""
    return torch.arange(frames, device=lengths.device) < lengths[:, None]


def zero_padding(features: Tensor, lengths: Tensor) -> Tensor:
    """(B, T, D) with zeros at and beyond each item's length."""
    return features.masked_fill(~frame_mask(lengths, features.size(1))[..., None], 0.0)


def add_deltas(features: Tensor, order: int, win_length: int = 5, lengths: Tensor | None = None) -> Tensor:
    """Appends deltas up to ``order`` along the last axis.

    d_t = sum_n n (c_(t+n) - c_(t-n)) / (2 sum_n n^2) with n = 1 ... (win_length - 1) / 2.

    Args:
        features: (B, T, D).
        order: 0 for none.
        win_length: odd, at least 3.
        lengths: (B,) frames; the first and the last frame of each utterance are repeated beyond its ends. All T frames by default.

    Returns:
        (B, T, D (order + 1)); frames beyond the lengths hold nothing of use.
    """
    steps = torch.arange(features.size(1), device=features.device)
    last = steps[-1:] if lengths is None else (lengths - 1)[:, None]
    parts = [features]
    for _ in range(order):
        parts.append(_delta(parts[-1], steps, last, (win_length - 1) // 2))
    return torch.cat(parts, dim=-1)


def _delta(features: Tensor, steps: Tensor, last: Tensor, reach: int) -> Tensor:
    batch = torch.arange(len(features), device=features.device)[:, None]
    total = torch.zeros_like(features)
    for n in range(1, reach + 1):
        later, earlier = torch.minimum(steps + n, last), (steps - n).clamp(min=0)
        total = total + n * (features[batch, later.expand(len(features), -1)] - features[:, earlier])
    return total * (3.0 / (reach * (reach + 1) * (2 * reach + 1)))


def cmvn(features: Tensor, lengths: Tensor | None = None, eps: float = EPS) -> Tensor:
    """Per utterance and dimension (x - mean) / (std + eps) over its frames, with the unbiased standard deviation; padding becomes 0.

    A single frame becomes 0 (its deviation, undefined by the formula, is taken as 0).

    Args:
        features: (B, T, D).
        lengths: (B,) frames; all T by default.
    """
    lengths = torch.full((len(features),), features.size(1), device=features.device) if lengths is None else lengths
    mask = frame_mask(lengths, features.size(1))[..., None]
    count = lengths[:, None, None].clamp(min=1).to(features.dtype)
    centred = (features - (features * mask).sum(1, keepdim=True) / count) * mask
    deviation = (centred.square().sum(1, keepdim=True) / (count - 1).clamp(min=1)).sqrt()
    return centred / (deviation + eps)
