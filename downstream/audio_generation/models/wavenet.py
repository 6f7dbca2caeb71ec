"""WaveNet (van den Oord et al. 2016): causal convolutions whose taps lie twice as far apart from layer to layer, gates, and skips.

Names of the weights and the arithmetic are those of the public code (specs/audio-generation.md, 5.2 and 6.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from utility.training.fields import Count, Limits, check_name, made_of

from .wavenet_step import BatchedWaveNet, FastWaveNet, PlainWaveNet, Stepping


class WaveNet(nn.Module):
    """Embedded codes to the width of the codes; a backbone of :class:`~.code_model.CodeModel`.

    Args:
        layers: layers of a block, whose taps lie 1, 2, 4 ... steps apart.
        blocks: how many blocks follow each other.
        dilation_channels: width D of the gates.
        residual_channels: width R between the layers.
        skip_channels: width of what all layers sum up.
        end_channels: width of the layer after the sum.
        classes: width of what it reads and of what it gives.
        kernel_size: taps of a convolution.
        bias: whether the layers have biases (those after the sum always do).

    Attributes:
        dilations: of each layer.
        receptive_field: steps that a result depends on, its own among them.
    """

    def __init__(
        self,
        layers: Annotated[int, Limits(least=1, most=24)] = 10,
        blocks: Count = 4,
        dilation_channels: Count = 64,
        residual_channels: Count = 64,
        skip_channels: Count = 1024,
        end_channels: Count = 512,
        classes: Count = 256,
        kernel_size: Count = 2,
        bias: bool = False,
    ):
        super().__init__()
        self.d_input = self.d_output = classes
        self.kernel_size = kernel_size
        self.dilations = [2**i for i in range(layers)] * blocks
        self.receptive_field = 1 + (kernel_size - 1) * sum(self.dilations)
        self.warm_up, self.goes_on = self.receptive_field, True

        def convolutions(channels: int, width: int, taps: int = 1) -> nn.ModuleList:
            return nn.ModuleList(nn.Conv1d(channels, width, taps, bias=bias) for _ in self.dilations)

        self.filter_convs = convolutions(residual_channels, dilation_channels, kernel_size)
        self.gate_convs = convolutions(residual_channels, dilation_channels, kernel_size)
        self.residual_convs = convolutions(dilation_channels, residual_channels)
        self.skip_convs = convolutions(dilation_channels, skip_channels)
        self.start_conv = nn.Conv1d(classes, residual_channels, 1, bias=bias)
        self.end_conv_1 = nn.Conv1d(skip_channels, end_channels, 1)
        self.end_conv_2 = nn.Conv1d(end_channels, classes, 1)

    def gates(self, layer: int) -> tuple[Tensor, Tensor | None]:
        """Weight (2 D, R, taps) and bias (2 D,) of a layer's filter and gate together."""
        pair = self.filter_convs[layer], self.gate_convs[layer]
        biases = [conv.bias for conv in pair if conv.bias is not None]
        return torch.cat([conv.weight for conv in pair]), torch.cat(biases) if biases else None

    def forward(self, x: Tensor, state: None = None) -> tuple[Tensor, None]:
        """(B, warm_up + L, classes) -> (B, L, classes); there is no state to go on from."""
        length = x.size(1) - self.warm_up
        hidden = self.start_conv(x[:, 1:].transpose(1, 2))  # the first step of the warm-up is out of reach of every result
        skip: Tensor | float = 0.0
        for layer, dilation in enumerate(self.dilations):
            weight, bias = self.gates(layer)
            value, gate = F.conv1d(hidden, weight, bias, dilation=dilation).chunk(2, 1)
            z = torch.tanh(value) * torch.sigmoid(gate)
            skip = skip + self.skip_convs[layer](z[..., -length:])
            hidden = self.residual_convs[layer](z) + hidden[..., -z.size(-1) :]
        return self.end_conv_2(torch.relu(self.end_conv_1(torch.relu(skip)))).transpose(1, 2), None

    def stepper(self, batch: int, mode: str | None, encoder: Tensor, decoder: tuple[Tensor, Tensor]) -> Stepping:
        """Goes through ``batch`` sequences code by code.

        Args:
            batch: number of sequences.
            mode: ``"fused"``, with compiled loops, in float32 on a CPU, or ``"plain"``, layer by layer on any device and in the type of the
                weights; None: fused where it can be.
            encoder: embedding (n_codes, classes).
            decoder: weight (n_codes, classes) and bias (n_codes,) of the output layer.

        Raises:
            UnknownNameError: no such mode, or no compiled loops for this device or type.
        """
        fits = encoder.device.type == "cpu" and encoder.dtype == torch.float32
        modes = ("fused", "plain") if fits else ("plain",)
        mode = mode or modes[0]
        check_name("mode of WaveNet's steps", mode, modes)
        fused = FastWaveNet if batch == 1 else BatchedWaveNet
        return (fused if mode == "fused" else PlainWaveNet)(self, batch, encoder, decoder)


def backbone_of(name: str, fields: Mapping[str, Any], source: str) -> WaveNet:
    """The WaveNet of a config section; see :func:`.build.build`."""
    return made_of(WaveNet, fields, source=f"{source} ({name})")
