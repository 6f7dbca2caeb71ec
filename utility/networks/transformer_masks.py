"""Which frames of a padded batch belong to their utterances (specs/upstreams.md, section 11.4)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from utility.features.deltas_cmvn import frame_mask


def grouped_frames(samples: Sequence[int], frames: int) -> list[int]:
    """The frames that fairseq's HuBERT and WavLM take as valid.

    They cut the longest item's samples into ``frames`` equal groups and take a frame as padding only if its whole group is. A group is
    longer than a frame shift, so that this is often one frame more than the convolutions give.

    Args:
        samples: of each item.
        frames: of the longest item.
    """
    group = max(samples) // frames
    return [min(frames, -(-n // group)) for n in samples]


def valid_mask(valid: Sequence[int], frames: int, device: torch.device) -> Tensor | None:
    """(B, T) True where a frame is valid; None where all are, so that nothing need be masked."""
    if min(valid) >= frames:
        return None
    return frame_mask(torch.tensor(valid, device=device), frames)


def key_mask(valid: Tensor | None, like: Tensor) -> Tensor | None:
    """(B, 1, T, T) to be added to attention logits: 0 for valid keys, the least finite number for others.

    Args:
        valid: (B, T), or None.
        like: a tensor of the device and type that it is for.
    """
    if valid is None:
        return None
    mask = torch.zeros(valid.shape, dtype=like.dtype, device=like.device).masked_fill(~valid, torch.finfo(like.dtype).min)
    return mask[:, None, None].expand(-1, 1, valid.size(1), -1)


def without_padding(x: Tensor, valid: Tensor | None) -> Tensor:
    """(B, T, D) with zeros at padded frames."""
    return x if valid is None else x.masked_fill(~valid[..., None], 0.0)
