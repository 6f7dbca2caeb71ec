"""Frames of features and frames of labels brought to one rate and one length (spec: downstream-content.md 1 and 3)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from utility.errors import UnknownNameError

STYLES = ("concat", "drop")


def downsample(features: Tensor, lengths: Tensor, rate: int, style: str) -> tuple[Tensor, Tensor]:
    """Fewer frames per second.

    ``"concat"`` stacks ``rate`` neighbours into one frame and drops the ragged tail; ``"drop"`` keeps every ``rate``-th frame, the first
    one among them. An utterance that has frames keeps at least one (where S3PRL gives a length of 0, which no recurrent layer takes): a
    batch with fewer frames than ``rate`` is padded with zeros before they are stacked.

    Args:
        features: (B, T, D).
        lengths: (B,), numbers of true frames.
        rate: 1 or more.
        style: ``"concat"`` or ``"drop"``.

    Returns:
        (B, T // rate, D * rate) or (B, ceil(T / rate), D), and lengths // rate.

    Raises:
        UnknownNameError: no such style.
    """
    if style not in STYLES:
        raise UnknownNameError("style of downsampling", style, STYLES)
    if rate == 1:
        return features, lengths
    lengths = torch.minimum(lengths, torch.div(lengths, rate, rounding_mode="floor").clamp(min=1))
    if style == "drop":
        return features[:, ::rate].contiguous(), lengths
    batch, frames, width = features.shape
    if frames < rate:
        features, frames = F.pad(features, (0, 0, 0, rate - frames)), rate
    whole = frames // rate
    return features[:, : whole * rate].reshape(batch, whole, width * rate), lengths


def match_length(features: Tensor, frames: int) -> Tensor:
    """S3PRL's way to give features as many frames as there are labels: repeated whole, then cut, or prolonged by their last frame.

    Args:
        features: (B, T, D), T > 0; each frame is repeated round(frames / T) times if that is more than once.
        frames: wanted number of frames.

    Returns:
        (B, frames, D)
    """
    factor = round(frames / features.size(1))
    if factor > 1:
        features = features.repeat_interleave(factor, dim=1)
    missing = frames - features.size(1)
    if missing > 0:
        features = torch.cat([features, features[:, -1:].expand(-1, missing, -1)], dim=1)
    return features[:, :frames]


def frames_at(features: Tensor, labels: int, upstream_rate: int, label_rate: int) -> Tensor:
    """For each label the feature frame that covers its middle, whatever the two rates are; beyond the end it is the last one.

    Where one label's frame is one feature's, or several labels' frames are, this is what :func:`match_length` does.

    Args:
        features: (T, D) of one utterance; zeros stand in where T is 0.
        labels: number of labels.
        upstream_rate: samples per feature frame.
        label_rate: samples per label.

    Returns:
        (labels, D)
    """
    if not len(features):
        return features.new_zeros(labels, features.size(1))
    middles = (torch.arange(labels, device=features.device) * 2 + 1) * label_rate
    index = torch.div(middles, 2 * upstream_rate, rounding_mode="floor").clamp(max=len(features) - 1)
    return features[index]
