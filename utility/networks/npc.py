"""Non-autoregressive predictive coding: convolutions that reconstruct a frame from its neighbourhood without its nearest neighbours.

Liu, Chung and Glass 2020, "Non-Autoregressive Predictive Coding for Learning Speech Representations from Local Dependencies" (2011.00406);
specs/upstreams.md, section 9. Parameters have the names of the published files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from utility.features.deltas_cmvn import frame_mask
from utility.networks.fields import not_a_share, not_among, not_positive
from utility.networks.vector_quantizer import GroupedQuantizer, QuantizerConfig, filled_with_quantizer, width_faults

ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh}


@dataclass(frozen=True)
class NpcConfig:
    """The network.

    Args:
        kernel_size: taps of the masked convolutions, odd.
        mask_size: frames around the one to reconstruct that stay unseen, odd.
        n_blocks: blocks, one on top of the other; each has a masked convolution.
        hidden_size: width.
        dropout: in each block.
        residual: each block but the first adds its input.
        batch_norm: in each block.
        activate: ``"relu"`` or ``"tanh"``.
        disable_cross_layer: only the last block has a masked convolution.
        vq: quantiser before the reconstruction, or None.
        dim_bottleneck: width of a linear bottleneck before it, or None; not with ``vq``.
    """

    kernel_size: int = 15
    mask_size: int = 5
    n_blocks: int = 4
    hidden_size: int = 512
    dropout: float = 0.1
    residual: bool = True
    batch_norm: bool = True
    activate: str = "relu"
    disable_cross_layer: bool = False
    vq: QuantizerConfig | None = None
    dim_bottleneck: int | None = None

    @classmethod
    def of(cls, paras: Mapping[str, Any], source: str) -> NpcConfig:
        """From a checkpoint's ``model.paras`` section.

        Raises:
            ConfigError: fields are impossible, all at once.
        """
        return filled_with_quantizer(cls, paras, source)

    def unseen(self, block: int) -> int:
        """Zeroed taps of the masked convolution on a block; each block below widens what a frame has seen by one on either side."""
        return self.mask_size + 2 * (block + 1)

    def faults(self) -> list[str]:
        """What is impossible about it."""
        faults = not_positive(self, ["kernel_size", "mask_size", "n_blocks", "hidden_size"]) + not_a_share(self, ["dropout"])
        faults += not_among(self, "activate", ACTIVATIONS)
        if self.kernel_size % 2 == 0 or self.mask_size % 2 == 0:
            faults.append(f"kernel_size and mask_size must be odd, not {self.kernel_size} and {self.mask_size}")
        if self.unseen(self.n_blocks - 1) >= self.kernel_size:
            faults.append(f"kernel_size {self.kernel_size} leaves nothing beside the {self.unseen(self.n_blocks - 1)} masked taps")
        faults += width_faults(self.vq, self.hidden_size)
        if self.dim_bottleneck is not None and (type(self.dim_bottleneck) is not int or self.dim_bottleneck < 1 or self.vq):
            faults.append(f"dim_bottleneck must be a positive whole number and go without vq, not {self.dim_bottleneck!r}")
        return faults


class ConvBlock(nn.Module):
    """Convolution over three frames and a pointwise one, each with batch norm.

    Args:
        width: of the input.
        config: the network.
        residual: add the input before the last activation.
    """

    def __init__(self, width: int, config: NpcConfig, residual: bool):
        super().__init__()
        self.residual, self.dropout, self.activation = residual, config.dropout, ACTIVATIONS[config.activate]
        self.conv = nn.Conv1d(width, config.hidden_size, 3, padding=1)
        self.linear = nn.Conv1d(config.hidden_size, config.hidden_size, 1)
        self.bn1, self.bn2 = (nn.BatchNorm1d(config.hidden_size) if config.batch_norm else nn.Identity() for _ in range(2))

    def forward(self, below: Tensor) -> Tensor:
        """(B, width, T) -> (B, hidden_size, T)."""
        output = self.bn2(self.linear(self.activation(self.bn1(self.conv(below)))))
        output = F.dropout(output, self.dropout, self.training)
        return self.activation(output + below if self.residual else output)


class MaskedConv(nn.Module):
    """Convolution whose middle taps are zero, then tanh.

    Args:
        width: of input and output.
        kernel_size: taps.
        unseen: how many in the middle are zero.
    """

    def __init__(self, width: int, kernel_size: int, unseen: int):
        super().__init__()
        self.conv = nn.Conv1d(width, width, kernel_size, padding=(kernel_size - 1) // 2)
        mask = torch.ones(width, width, kernel_size)
        start = (kernel_size - unseen) // 2
        mask[:, :, start : start + unseen] = 0.0
        self.register_buffer("conv_mask", mask)  # as large as the kernel, since published files hold it

    def forward(self, below: Tensor) -> Tensor:
        """(B, width, T) -> (B, T, width)."""
        return torch.tanh(F.conv1d(below, self.conv.weight * self.conv_mask, self.conv.bias, padding=self.conv.padding).mT)


class Npc(nn.Module):
    """
    Args:
        input_size: width of the frames.
        config: the network.
    """

    def __init__(self, input_size: int, config: NpcConfig):
        super().__init__()
        self.config, width = config, config.hidden_size
        self.blocks = nn.ModuleList(
            ConvBlock(width if i else input_size, config, bool(i) and config.residual) for i in range(config.n_blocks)
        )
        self.masked_convs = nn.ModuleList(
            MaskedConv(width, config.kernel_size, config.unseen(i)) if self._is_seen(i) else nn.Identity() for i in range(config.n_blocks)
        )
        self.vq_layers = GroupedQuantizer(config.vq) if config.vq else None
        self.ae_bottleneck = nn.Linear(width, config.dim_bottleneck, bias=False) if config.dim_bottleneck else None
        self.postnet = nn.Linear(config.dim_bottleneck or width, input_size)

    @classmethod
    def of(cls, input_size: int, paras: Mapping[str, Any], source: str) -> Npc:
        """As a checkpoint's ``model.paras`` section describes it; see :meth:`NpcConfig.of`."""
        return cls(input_size, NpcConfig.of(paras, source))

    def _is_seen(self, block: int) -> bool:
        return not self.config.disable_cross_layer or block == self.config.n_blocks - 1

    def forward(self, frames: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        """The reconstruction (B, T, input_size), and what :meth:`encode` gives."""
        states = self.encode(frames, lengths)
        return self.predict(states[-1]), states

    def encode(self, frames: Tensor, lengths: Tensor | None = None) -> list[Tensor]:
        """
        Args:
            frames: (B, T, input_size), zero-padded.
            lengths: (B,) frames of each item; with them, padding is set to zero before every convolution over frames, so that in eval mode
                an item's frames do not depend on it. Without them (as published) it runs through the network like data.

        Returns:
            block 0, masked convolution 0, block 1, masked convolution 1 ..., feature; each (B, T, hidden_size), the feature (B, T,
            dim_bottleneck) where there is a bottleneck. The feature is the sum of the masked convolutions, before any quantiser.
        """
        own = None if lengths is None else frame_mask(lengths, frames.size(1))[:, None]
        states, outputs, hidden = [], [], frames.mT
        for index, block in enumerate(self.blocks):
            hidden = block(hidden)
            hidden = hidden if own is None else hidden.masked_fill(~own, 0.0)
            states.append(hidden.mT)
            if self._is_seen(index):
                outputs.append(self.masked_convs[index](hidden))
                states.append(outputs[-1])
        feature = torch.stack(outputs).sum(0)
        return [*states, feature if self.ae_bottleneck is None else self.ae_bottleneck(feature)]

    def predict(self, feature: Tensor) -> Tensor:
        """The reconstruction (B, T, input_size) from the feature, through the codes where there are any."""
        return self.postnet(feature if self.vq_layers is None else self.vq_layers(feature))
