"""A head for features that see little context of their own, quick on a CPU."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from downstream.blocks.convolution import Convolution
from downstream.blocks.frames import downsample
from utility.errors import ConfigError
from utility.training.fields import Count, Part


class StackedConvolution(nn.Module):
    """Neighbouring frames stacked into one, then convolutions over time.

    Args:
        input_dim: width of the features.
        output_dim: number of classes.
        upstream_rate: samples per feature frame.
        total_rate: samples per stacked frame; a multiple of ``upstream_rate``.
        channels, kernel_size, dilations, activation, dropout, layer_norm: of :class:`downstream.blocks.convolution.Convolution`.

    Raises:
        ConfigError: a rate that stacking does not give, or a wrong option.
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        upstream_rate: int,
        total_rate: int = 480,
        channels: Sequence[Count] = (192, 192, 192),
        kernel_size: Count = 9,
        dilations: Sequence[Count] | None = None,
        activation: str = "ReLU",
        dropout: Part = 0.0,
        layer_norm: bool = False,
    ):
        super().__init__()
        if total_rate < upstream_rate or total_rate % upstream_rate:
            raise ConfigError(f"total_rate {total_rate} is no multiple of the upstream's {upstream_rate} samples", "StackedConvolution")
        self.stacked = total_rate // upstream_rate
        width = input_dim * self.stacked
        self.convolution = Convolution(width, output_dim, channels, kernel_size, dilations, activation, dropout, layer_norm)

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, input_dim), lengths (B,) -> (B, T', output_dim) and lengths."""
        return self.convolution(*downsample(features, lengths, self.stacked, "concat"))
