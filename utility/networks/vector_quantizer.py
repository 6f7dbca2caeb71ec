"""The Gumbel-softmax vector quantiser of VQ-APC and NPC (Chung et al. 2020, 2005.08392, section 2; specs/upstreams.md, section 8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from utility.networks.fields import Settings, filled, nested, not_positive


@dataclass(frozen=True)
class QuantizerConfig:
    """Groups of codebooks.

    Args:
        codebook_size: entries of each group.
        code_dim: width of each group; their sum is the width of what is quantised.
        gumbel_temperature: of the samples in training.
    """

    codebook_size: list
    code_dim: list
    gumbel_temperature: float = 1.0

    @classmethod
    def of(cls, given: Mapping[str, Any], source: str) -> QuantizerConfig:
        """From a checkpoint's ``vq`` section.

        Raises:
            ConfigError: fields are missing or impossible.
        """
        return filled(cls, given, source)

    @property
    def width(self) -> int:
        """Width of the codes of all groups together."""
        return sum(self.code_dim)

    def faults(self) -> list[str]:
        """What is impossible about it."""
        lists = {"codebook_size": self.codebook_size, "code_dim": self.code_dim}
        faults = [
            f"{name} must be a list of positive whole numbers, not {value!r}"
            for name, value in lists.items()
            if not isinstance(value, list | tuple) or not value or any(type(n) is not int or n < 1 for n in value)
        ]
        if not faults and len(self.codebook_size) != len(self.code_dim):
            faults.append(
                f"codebook_size and code_dim must have one entry per group, not {len(self.codebook_size)} and {len(self.code_dim)}"
            )
        return faults + not_positive(self, ["gumbel_temperature"])


def filled_with_quantizer(kind: type[Settings], paras: Mapping[str, Any], source: str) -> Settings:
    """The settings of a network whose section ``vq``, if it has one, describes a quantiser.

    Args:
        kind: a dataclass with a field ``vq`` of :class:`QuantizerConfig`.
        paras: its fields, see :func:`utility.networks.fields.filled`.
        source: what the sentence calls them.

    Raises:
        ConfigError: fields are impossible, all at once.
    """
    vq = QuantizerConfig.of(nested(paras, source, "vq"), f"{source} vq") if paras.get("vq") is not None else None
    return filled(kind, {**paras, "vq": vq}, source)


def width_faults(vq: QuantizerConfig | None, width: int) -> list[str]:
    """A fault if the codes have not the width of what is quantised, ``hidden_size``."""
    fits = vq is None or vq.width == width
    return [] if fits else [f"the widths vq.code_dim sum up to {vq.width}, not to hidden_size {width}"]


class VectorQuantizer(nn.Module):
    """One group.

    Args:
        width: of the input and of the codes.
        entries: in the codebook.
        temperature: of the Gumbel softmax.
    """

    def __init__(self, width: int, entries: int, temperature: float):
        super().__init__()
        self.temperature = temperature
        self.vq_logits = nn.Linear(width, entries)
        self.codebook_CxE = nn.Linear(entries, width, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """(..., width) codes of (..., width) features: the likeliest entry in eval mode, a straight-through sample in training."""
        logits = self.vq_logits(features)
        if self.training:
            soft = ((logits + _gumbel(logits)) / self.temperature).softmax(-1)
            chosen = F.one_hot(soft.argmax(-1), soft.size(-1)).to(soft.dtype) - soft.detach() + soft
        else:
            chosen = F.one_hot(logits.argmax(-1), logits.size(-1)).to(logits.dtype)
        return self.codebook_CxE(chosen)


def _gumbel(like: Tensor) -> Tensor:
    """Gumbel noise of a tensor's shape, from torch's global generator of the CPU.

    Computed in double precision, so that no last bit of it depends on how a library cuts its sampling into pieces.
    """
    return torch.rand(like.shape, dtype=torch.float64).clamp_min(1e-300).log().neg().log().neg().to(like)


class GroupedQuantizer(nn.ModuleList):
    """One quantiser per group; each takes its slice of the features, in order.

    Args:
        config: the groups.
    """

    def __init__(self, config: QuantizerConfig):
        groups = zip(config.code_dim, config.codebook_size, strict=True)
        super().__init__(VectorQuantizer(width, entries, config.gumbel_temperature) for width, entries in groups)
        self.widths = list(config.code_dim)

    def forward(self, features: Tensor) -> Tensor:
        """(..., sum of code_dim) codes of features of the same shape."""
        return torch.cat([group(part) for group, part in zip(self, features.split(self.widths, dim=-1), strict=True)], dim=-1)
