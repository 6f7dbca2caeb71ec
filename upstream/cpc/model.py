"""Contrastive predictive coding as modified by Riviere et al. 2020 (arXiv 2002.08848): convolutional encoder and recurrence."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .config import CpcConfig

CONVOLUTIONS = ((10, 5, 3), (8, 4, 2), (4, 2, 1), (4, 2, 1), (4, 2, 1))
"""Kernel, stride and zero padding at both ends of the encoder's layers."""
RATE = 160
EPSILON = 1e-5
_RECURRENCES = {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN": nn.RNN}


def frames_of(samples: int) -> int:
    """The frames that so many samples give; 0 if they are too few."""
    for kernel, stride, padding in CONVOLUTIONS:
        samples = max((samples + 2 * padding - kernel) // stride + 1, 0)
    return samples


def least_samples() -> int:
    """The fewest samples that give a frame."""
    samples = 1
    for kernel, stride, padding in reversed(CONVOLUTIONS):
        samples = (samples - 1) * stride + kernel - 2 * padding
    return samples


class ChannelNorm(nn.Module):
    """Normalises the channels of each frame by their mean and unbiased variance, which ``nn.LayerNorm`` does not use.

    Args:
        channels: C of the (B, C, T) input.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, channels, 1))
        self.bias = nn.Parameter(torch.zeros(1, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) to (B, C, T)."""
        variance, mean = torch.var_mean(x, dim=1, keepdim=True, correction=1)
        return (x - mean) * (variance + EPSILON).rsqrt() * self.weight + self.bias


class Encoder(nn.Module):
    """Five convolutions, each with norm and ReLU: (B, 1, L) to (B, C, T)."""

    def __init__(self, config: CpcConfig):
        super().__init__()
        norm = ChannelNorm if config.norm == "layerNorm" else nn.BatchNorm1d
        width = config.hidden_encoder
        for index, (kernel, stride, padding) in enumerate(CONVOLUTIONS):
            self.add_module(f"conv{index}", nn.Conv1d(width if index else 1, width, kernel, stride, padding))
            self.add_module(f"batchNorm{index}", norm(width))

    def forward(self, x: Tensor) -> Tensor:
        """Frames after the last ReLU."""
        for index in range(len(CONVOLUTIONS)):
            x = getattr(self, f"batchNorm{index}")(getattr(self, f"conv{index}")(x)).relu()
        return x


class Context(nn.Module):
    """The recurrence over the encoder's frames, (B, T, C) to (B, T, H); it begins anew with each call."""

    def __init__(self, config: CpcConfig):
        super().__init__()
        self.reverse = config.reverse
        recurrence = _RECURRENCES[config.recurrence]
        self.baseNet = recurrence(config.hidden_encoder, config.hidden_gar, config.levels, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """The recurrence's outputs in the order of time."""
        if not self.reverse:
            return self.baseNet(x)[0]
        return self.baseNet(x.flip(1))[0].flip(1)


class CpcModel(nn.Module):
    """Encoder and context under the published names of their weights."""

    def __init__(self, config: CpcConfig):
        super().__init__()
        self.gEncoder = Encoder(config)
        self.gAR = Context(config)

    def forward(self, wavs: Tensor) -> list[Tensor]:
        """(B, L) waveforms to the outputs of encoder and recurrence, (B, T, C) and (B, T, H)."""
        encoded = self.gEncoder(wavs[:, None]).transpose(1, 2)
        return [encoded, self.gAR(encoded)]
