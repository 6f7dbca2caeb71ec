"""Frames with a view of their neighbours, for features that have little context of their own."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from downstream.blocks.pooling import activation_named, frame_mask
from utility.errors import ConfigError
from utility.training.fields import Count, Part


class Convolution(nn.Module):
    """Convolutions over time, each followed by an activation and dropout, and a linear layer on every frame.

    Padding is zeroed before each convolution, so that an utterance's result does not depend on its batch. The number of frames is kept.

    Args:
        input_dim: width of the features.
        output_dim: width of the result.
        channels: widths of the convolutions.
        kernel_size: frames that a convolution sees; odd.
        dilations: distance of these frames, one per convolution; 1 by default.
        activation: a class of torch.nn.
        dropout: part of the activations that is dropped in training.
        layer_norm: normalise each frame between convolution and activation, which lets deeper stacks learn sooner.

    Raises:
        ConfigError: an even kernel, no channels, or not one dilation per convolution.
        UnknownNameError: torch.nn has no such activation.
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        channels: Sequence[Count] = (128, 128),
        kernel_size: Count = 5,
        dilations: Sequence[Count] | None = None,
        activation: str = "ReLU",
        dropout: Part = 0.0,
        layer_norm: bool = False,
    ):
        super().__init__()
        dilations = dilations or [1] * len(channels)
        _check(channels, kernel_size, dilations)
        ends = list(pairwise([input_dim, *channels]))
        self.convolutions = nn.ModuleList(
            nn.Conv1d(*widths, kernel_size, dilation=dilation, padding=kernel_size // 2 * dilation)
            for widths, dilation in zip(ends, dilations, strict=True)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) if layer_norm else nn.Identity() for width in channels)
        self.activation, self.dropout = activation_named(activation), nn.Dropout(dropout)
        self.linear = nn.Linear(channels[-1], output_dim)

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, input_dim) -> (B, T, output_dim); ``lengths`` (B,) are passed on."""
        inside = frame_mask(lengths, features.size(1)).unsqueeze(1)
        hidden = features.transpose(1, 2)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            normal = norm(convolution(hidden * inside).transpose(1, 2)).transpose(1, 2)
            hidden = self.dropout(self.activation(normal))
        return self.linear(hidden.transpose(1, 2)), lengths


def _check(channels: Sequence[int], kernel_size: int, dilations: Sequence[int]) -> None:
    faults = []
    if not channels:
        faults.append("channels must name at least one width")
    if kernel_size % 2 == 0:
        faults.append(f"kernel_size must be odd, not {kernel_size}")
    if len(dilations) != len(channels):
        faults.append(f"{len(channels)} channels need {len(channels)} dilations, not {len(dilations)}")
    if faults:
        raise ConfigError(faults, "Convolution")
