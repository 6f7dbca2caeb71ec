"""ResNeXt for small images, with the parameter names of the public SC09 classifier (specs/audio-generation.md, 7)."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from utility.training.fields import Count

FIRST, POOL = 64, 8


class Bottleneck(nn.Module):
    """1x1 to a number of groups, 3x3 within each group, 1x1 back; added to the input.

    Args:
        channels, out: before and after.
        stride: of the 3x3 convolution.
        cardinality: groups.
        width: channels of each group.
    """

    def __init__(self, channels: int, out: int, stride: int, cardinality: int, width: int):
        super().__init__()
        inner = cardinality * width
        self.conv_reduce = nn.Conv2d(channels, inner, 1, bias=False)
        self.bn_reduce = nn.BatchNorm2d(inner)
        self.conv_conv = nn.Conv2d(inner, inner, 3, stride, padding=1, groups=cardinality, bias=False)
        self.bn = nn.BatchNorm2d(inner)
        self.conv_expand = nn.Conv2d(inner, out, 1, bias=False)
        self.bn_expand = nn.BatchNorm2d(out)
        self.shortcut = nn.Sequential()
        if channels != out:
            self.shortcut.add_module("shortcut_conv", nn.Conv2d(channels, out, 1, stride, bias=False))
            self.shortcut.add_module("shortcut_bn", nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, out, H / stride, W / stride)."""
        inner = self.bn_reduce(self.conv_reduce(x)).relu()
        inner = self.bn(self.conv_conv(inner)).relu()
        return (self.shortcut(x) + self.bn_expand(self.conv_expand(inner))).relu()


class ResNeXt(nn.Module):
    """Three stages of bottlenecks, the mean, a linear layer.

    Args:
        cardinality: groups of the 3x3 convolutions.
        depth: 2 + 9 times the bottlenecks of a stage.
        base_width: channels of a group in the first stage.
        widen_factor: the first stage has 64 times as many channels.
        nlabels: classes.

    Raises:
        ValueError: a depth that is not 2 + 9 n.
    """

    def __init__(self, cardinality: Count = 8, depth: Count = 29, base_width: Count = 64, widen_factor: Count = 4, nlabels: Count = 10):
        super().__init__()
        blocks, rest = divmod(depth - 2, 9)
        if rest or blocks < 1:
            raise ValueError(f"depth must be 2 + 9 n, such as 11, 20 or 29, not {depth}")
        widths = [FIRST * widen_factor * 2**stage for stage in range(3)]
        self.conv_1_3x3 = nn.Conv2d(1, FIRST, 3, padding=1, bias=False)
        self.bn_1 = nn.BatchNorm2d(FIRST)
        channels = FIRST
        for number, out in enumerate(widths, start=1):
            stage = OrderedDict()
            for block in range(blocks):
                stride = 2 if number > 1 and block == 0 else 1
                width = base_width * out // (FIRST * widen_factor)
                stage[f"stage_{number}_bottleneck_{block}"] = Bottleneck(channels, out, stride, cardinality, width)
                channels = out
            self.add_module(f"stage_{number}", nn.Sequential(stage))
        self.classifier = nn.Linear(channels, nlabels)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
        nn.init.kaiming_normal_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    def activations(self, images: Tensor) -> Tensor:
        """(B, 32, 32) -> (B, D), what the last layer reads."""
        x = self.conv_1_3x3(images[:, None]).contiguous(memory_format=torch.channels_last)  # a quarter less time on a CPU
        x = self.bn_1(x).relu()
        x = self.stage_3(self.stage_2(self.stage_1(x)))
        return F.avg_pool2d(x, POOL, 1).flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 32, 32) -> logits (B, nlabels)."""
        return self.classifier(self.activations(images))
