"""What both networks of DiffWave are made of: pointwise and dilated convolutions, the embedding of the diffusion step, mel conditioning.

Names of the weights are those of the public code (specs/audio-generation.md, 10): ``conv.{bias, weight_g, weight_v}``, ``fc_t1``,
``fc_t2``, ``upsample_conv2d.*``, ``mel_conv.conv.*``. There He's initial values are overwritten at the first use of a normalised weight,
so those in effect are PyTorch's own, and they are here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .weight_norm import NormedWeight

N_MELS = 80


def normed(shape: tuple[int, ...], channels: int) -> NormedWeight:
    """A weight and a bias for ``channels`` outputs, with the initial values of PyTorch's convolutions."""
    made = NormedWeight(shape, (channels,), lambda weight: nn.init.kaiming_uniform_(weight, a=math.sqrt(5)))
    bound = 1 / math.sqrt(math.prod(shape[1:]))
    nn.init.uniform_(made.bias, -bound, bound)
    return made


class Conv(nn.Module):
    """A convolution that keeps the length, (B, in, L) -> (B, out, L).

    Args:
        in_channels, out_channels: widths.
        kernel_size: taps; odd.
        dilation: between them.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 1, dilation: int = 1):
        super().__init__()
        self.conv = normed((out_channels, in_channels, kernel_size), out_channels)
        self.dilation, self.padding = dilation, dilation * (kernel_size - 1) // 2

    def forward(self, x: Tensor) -> Tensor:
        return F.conv1d(x, self.conv.value(), self.conv.bias, padding=self.padding, dilation=self.dilation)


class ZeroConv(nn.Module):
    """A pointwise convolution whose first output is zero."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv = nn.Conv1d(in_channels, out_channels, 1)
        nn.init.zeros_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class StepEmbedding(nn.Module):
    """Base of what is told the diffusion step: its sines and cosines through two layers, ``fc_t1`` and ``fc_t2``."""

    def _embed_by(self, widths: tuple[int, int, int]) -> None:
        """Makes the layers; widths of the sines and cosines, of the first layer, and of the second."""
        self.d_step = widths[0]
        self.fc_t1, self.fc_t2 = nn.Linear(*widths[:2]), nn.Linear(*widths[1:])

    def embedded(self, steps: Tensor) -> Tensor:
        """(B,) -> (B, width); steps need not be whole."""
        half = self.d_step // 2
        rates = torch.exp(torch.arange(half, device=steps.device, dtype=torch.float64) * (-math.log(10000) / max(half - 1, 1)))
        angles = steps.double().unsqueeze(1) * rates
        waves = torch.cat([angles.sin(), angles.cos()], 1).to(self.fc_t1.weight)
        return F.silu(self.fc_t2(F.silu(self.fc_t1(waves))))


class Conditioned(nn.Module):
    """Base of a block that may hear a mel spectrogram beside its input.

    Args:
        channels: width of what the spectrogram is added to.
        upsample: factors whose product is the samples per frame; none: without spectrogram.
    """

    def __init__(self, channels: int, upsample: Sequence[int]):
        super().__init__()
        self.upsample = tuple(upsample)
        if upsample:
            self.upsample_conv2d = nn.ModuleList(normed((1, 1, 3, 2 * factor), 1) for factor in upsample)
            self.mel_conv = Conv(N_MELS, channels)

    def condition(self, mel: Tensor, length: int, pooled: int = 1) -> Tensor:
        """The spectrogram at the rate of the block's input.

        Args:
            mel: (B, 80, T), with at least as many frames as the waveform needs.
            length: L of the block's input.
            pooled: samples that the block's input has in one moment; averaged.

        Returns:
            (B, channels, L).
        """
        x = mel.unsqueeze(1)
        for layer, factor in zip(self.upsample_conv2d, self.upsample, strict=True):
            x = F.conv_transpose2d(x, layer.value(), layer.bias, stride=(1, factor), padding=(1, factor // 2))
            x = F.leaky_relu(x, 0.4)
        x = x.squeeze(1)[..., : length * pooled]
        return self.mel_conv(F.avg_pool1d(x, pooled) if pooled > 1 else x)
