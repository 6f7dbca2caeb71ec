"""Convolutional letter recogniser (Collobert et al. 2016, arXiv 1609.03193) over features (spec: downstream-content.md 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from downstream.blocks.pooling import frame_mask
from utility.errors import ConfigError

_NARROW, _WIDE = 250, 2000


class Wav2Letter(nn.Module):
    """Eleven convolutions over time, each followed by a rectifier, the last one too.

    Padding is zeroed before each of them, so that an utterance's result does not depend on its batch.

    Args:
        input_dim: width of the features.
        output_dim: number of classes.
        upstream_rate: samples per feature frame.
        total_rate: samples per frame of the result; -1 keeps the features' frames.

    Raises:
        ConfigError: the features have fewer frames than wanted.
    """

    def __init__(self, input_dim: int, output_dim: int, upstream_rate: int, total_rate: int = 320):
        super().__init__()
        self.stride = 1 if total_rate == -1 else total_rate // upstream_rate
        if self.stride < 1:
            raise ConfigError(f"total_rate {total_rate} is finer than the upstream's {upstream_rate} samples per frame", "Wav2Letter")
        convolutions = (
            nn.Conv1d(input_dim, _NARROW, 48, self.stride, padding=23),
            *(nn.Conv1d(_NARROW, _NARROW, 7, padding=3) for _ in range(7)),
            nn.Conv1d(_NARROW, _WIDE, 32, padding=16),
            nn.Conv1d(_WIDE, _WIDE, 1),
            nn.Conv1d(_WIDE, output_dim, 1),
        )
        self.acoustic_model = nn.Sequential(*(layer for convolution in convolutions for layer in (convolution, nn.ReLU())))

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, input_dim), lengths (B,) -> logits (B, T', output_dim) >= 0, and max(1, lengths // stride)."""
        missing = max(0, 2 - features.size(1))  # the widest kernel, with its padding, covers no less
        hidden, frames = F.pad(features, (0, 0, 0, missing)).transpose(1, 2), lengths
        for layer in self.acoustic_model:
            if isinstance(layer, nn.Conv1d):
                hidden = hidden * frame_mask(frames, hidden.size(2)).unsqueeze(1)
                frames = _frames_after(layer, frames)
            hidden = layer(hidden)
        return hidden.transpose(1, 2), torch.div(lengths, self.stride, rounding_mode="floor").clamp(min=1)


def _frames_after(layer: nn.Conv1d, frames: Tensor) -> Tensor:
    """How many frames a convolution makes of an utterance's own."""
    span = frames + 2 * layer.padding[0] - layer.kernel_size[0]
    return torch.div(span, layer.stride[0], rounding_mode="floor") + 1
