"""The convolutions of a frozen net on a CPU: matrix products over one waveform at a time, in blocks that bound the memory.

Frames come first and channels last throughout, so that the windows of a convolution are rows of a matrix and nothing is reordered. A group
norm over time (each channel its own group) is folded into the first convolution: that is linear, so that its mean and variance follow from
those of the waveform's windows, over the padded length where a batch is padded (specs/upstreams.md, section 11.4). What is left is local.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCK = 200  # frames; half a block costs as much time, a whole utterance costs memory


@dataclass(frozen=True)
class _Layer:
    """One convolution with what follows it.

    Attributes:
        weight: (outputs, kernel * inputs).
        bias: (outputs,) or None.
        norm: over channels, or None.
    """

    weight: Tensor
    bias: Tensor | None
    norm: nn.Module | None
    activation: nn.Module
    kernel: int
    stride: int

    def __call__(self, x: Tensor) -> Tensor:
        """(T, inputs), contiguous, to (T', outputs)."""
        frames, channels = (x.size(0) - self.kernel) // self.stride + 1, x.size(1)
        windows = x.as_strided((frames, self.kernel * channels), (self.stride * channels, 1))
        x = F.linear(windows.contiguous() if self.kernel > self.stride else windows, self.weight, self.bias)
        return self.activation(x if self.norm is None else self.norm(x))


class FrozenConvolutions:
    """A snapshot of the weights for one batch.

    Args:
        layers: ``feature_extractor.conv_layers`` of a Hugging Face model.
        sizes: (channels, kernel, stride) of each.
        longest: samples of the padded batch, over which a group norm takes its statistics; None for those of each waveform alone.
    """

    def __init__(self, layers: Sequence[nn.Module], sizes: Sequence[tuple[int, int, int]], longest: int | None):
        self.longest, norm = longest, getattr(layers[0], "layer_norm", None)
        self.group = norm if isinstance(norm, nn.GroupNorm) else None
        own = layers[0].conv.weight.dtype
        self.dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else own
        self.kernel = layers[0].conv.weight.flatten(1).double()
        self.layers = [self._layer(layer, *size[1:]) for layer, size in zip(layers, sizes, strict=True)]
        self.rate, self.field = 1, 1
        for _, kernel, stride in reversed(sizes):
            self.rate, self.field = self.rate * stride, (self.field - 1) * stride + kernel

    def __call__(self, wav: Tensor, frames: int) -> Tensor:
        """The first frames of a waveform, (L,) to (frames, C); zeros follow its samples."""
        first, *others = self.layers
        if self.group is not None:
            first = self._with_group_norm(first, wav)
        wav = _cut(wav, (frames - 1) * self.rate + self.field).to(self.dtype)
        blocks = []
        for start in range(0, frames, BLOCK):
            count = min(BLOCK, frames - start)
            x = wav[start * self.rate :][: (count - 1) * self.rate + self.field, None]
            for layer in (first, *others):
                x = layer(x)
            blocks.append(x)
        return torch.cat(blocks)

    def _layer(self, layer: nn.Module, kernel: int, stride: int) -> _Layer:
        weight, bias = layer.conv.weight.permute(0, 2, 1).flatten(1).to(self.dtype), layer.conv.bias
        norm = getattr(layer, "layer_norm", None)
        norm = None if norm is self.group else norm
        return _Layer(weight, None if bias is None else bias.to(self.dtype), norm, layer.activation, kernel, stride)

    def _with_group_norm(self, layer: _Layer, wav: Tensor) -> _Layer:
        """The first convolution with its norm in it; a bias of its own, equal at all frames, goes with the mean."""
        frames = ((self.longest or len(wav)) - layer.kernel) // layer.stride + 1
        mean, covariance = _window_moments(wav, layer.kernel, layer.stride, frames)
        variance = ((self.kernel @ covariance) * self.kernel).sum(1)
        scale = self.group.weight.double() / torch.sqrt(variance + self.group.eps)
        bias = self.group.bias.double() - (self.kernel @ mean) * scale
        weight = self.kernel * scale[:, None]
        return _Layer(weight.to(self.dtype), bias.to(self.dtype), None, layer.activation, layer.kernel, layer.stride)


def _window_moments(wav: Tensor, kernel: int, stride: int, frames: int) -> tuple[Tensor, Tensor]:
    """Mean (kernel,) and covariance (kernel, kernel) of so many windows of a waveform behind which zeros follow, in double precision."""
    windows = F.pad(wav.double(), (0, kernel)).unfold(0, kernel, stride)[:frames]
    mean = windows.sum(0) / frames
    centred = windows - mean
    empty = frames - windows.size(0)  # windows of zeros, each of which lies -mean off the mean
    return mean, (centred.T @ centred + empty * torch.outer(mean, mean)) / frames


def _cut(wav: Tensor, samples: int) -> Tensor:
    return F.pad(wav, (0, max(0, samples - len(wav))))[:samples]
