"""Autoregressive predictive coding: GRUs that predict a frame some steps ahead, with or without a quantiser before the prediction.

Chung et al. 2019, "An Unsupervised Autoregressive Model for Speech Representation Learning" (1904.03240); Chung, Tang and Glass 2020,
"Vector-Quantized Autoregressive Predictive Coding" (2005.08392). Parameters have the names of the published files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from utility.features.deltas_cmvn import zero_padding
from utility.networks.fields import not_a_share, not_positive
from utility.networks.vector_quantizer import GroupedQuantizer, QuantizerConfig, filled_with_quantizer, width_faults


@dataclass(frozen=True)
class ApcConfig:
    """The network.

    Args:
        num_layers: GRUs, one on top of the other.
        hidden_size: width of each.
        dropout: after each.
        residual: each layer but the first adds its input.
        vq: quantiser between the last layer and the prediction, or None.
    """

    num_layers: int = 3
    hidden_size: int = 512
    dropout: float = 0.1
    residual: bool = True
    vq: QuantizerConfig | None = None

    @classmethod
    def of(cls, paras: Mapping[str, Any], source: str) -> ApcConfig:
        """From a checkpoint's ``model.paras`` section.

        Raises:
            ConfigError: fields are impossible, all at once.
        """
        return filled_with_quantizer(cls, paras, source)

    def faults(self) -> list[str]:
        """What is impossible about it."""
        faults = not_positive(self, ["num_layers", "hidden_size"]) + not_a_share(self, ["dropout"])
        return faults + width_faults(self.vq, self.hidden_size)


class Apc(nn.Module):
    """
    Args:
        input_size: width of the frames.
        config: the network.
    """

    def __init__(self, input_size: int, config: ApcConfig):
        super().__init__()
        self.config = config
        widths = [input_size, *[config.hidden_size] * config.num_layers]
        self.rnn_layers = nn.ModuleList(nn.GRU(width, config.hidden_size, batch_first=True) for width in widths[:-1])
        self.vq_layers = GroupedQuantizer(config.vq) if config.vq else None
        self.postnet = nn.Linear(config.hidden_size, input_size)

    @classmethod
    def of(cls, input_size: int, paras: Mapping[str, Any], source: str) -> Apc:
        """As a checkpoint's ``model.paras`` section describes it; see :meth:`ApcConfig.of`."""
        return cls(input_size, ApcConfig.of(paras, source))

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The prediction (B, T, input_size) for each frame's future, and what :meth:`encode` gives."""
        layers = self.encode(frames, lengths)
        return self.predict(layers[-1]), layers

    def encode(self, frames: Tensor, lengths: Tensor) -> list[Tensor]:
        """
        Args:
            frames: (B, T, input_size), zero-padded.
            lengths: (B,) frames of each item.

        Returns:
            the output of each layer, after dropout and residual, (B, T, hidden_size) with zeros as padding. An item's frames do not depend
            on its padding, which comes after them.
        """
        layers: list[Tensor] = []
        for rnn in self.rnn_layers:
            below = layers[-1] if layers else frames
            output = F.dropout(zero_padding(rnn(below)[0], lengths), self.config.dropout, self.training)
            layers.append(output + below if self.config.residual and layers else output)
        return layers

    def predict(self, feature: Tensor) -> Tensor:
        """The prediction (B, T, input_size) from the last layer's output, through the codes where there are any."""
        return self.postnet(feature if self.vq_layers is None else self.vq_layers(feature))
