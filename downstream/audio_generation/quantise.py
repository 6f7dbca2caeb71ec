"""Waveforms to codes and back (specs/audio-generation.md, 4.1), bit for bit as the published models were trained.

Each recording is scaled to its own extremes first, so loudness and offset are lost, and a silent one is all 0, the lowest code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from utility.training.fields import check_name

EPSILON = 0.01  # of a code: keeps both ends of the range within the codes


def _scaled(x: Tensor, low: float, high: float) -> Tensor:
    least, most = x.amin(-1, keepdim=True), x.amax(-1, keepdim=True)
    return low + (high - low) * (x - least) / (most - least + 1e-6)


def quantise(u: Tensor, bits: int) -> Tensor:
    """(...) in [0, 1] -> codes int64."""
    return (u * ((1 << bits) - EPSILON) + EPSILON / 2).long()


def linear_encode(x: Tensor, bits: int = 8) -> Tensor:
    """Waveforms (..., L) -> codes (..., L)."""
    return quantise(_scaled(x, 0, 1), bits)


def linear_decode(codes: Tensor, bits: int = 8) -> Tensor:
    """Codes -> float32 in [-1, 1)."""
    return codes.float() / (1 << (bits - 1)) - 1


def mulaw_encode(x: Tensor, bits: int = 8) -> Tensor:
    """Waveforms (..., L) -> codes (..., L), finer where it is quiet."""
    mu = torch.tensor((1 << bits) - 1, dtype=x.dtype, device=x.device)
    scaled = _scaled(x, -1, 1)
    bent = torch.sign(scaled) * torch.log1p(mu * (scaled + 1e-8).abs()) / torch.log1p(mu)
    return quantise((bent + 1) / 2, bits)


def mulaw_decode(codes: Tensor, bits: int = 8) -> Tensor:
    """Codes -> float32 in [-1, 1)."""
    bent = linear_decode(codes, bits)
    return torch.sign(bent) * torch.expm1(bent.abs() * bits * torch.log(torch.tensor(2.0))) / ((1 << bits) - 1)


@dataclass(frozen=True)
class Quantiser:
    """One way to make codes of waveforms.

    Args:
        kind: its name in ``datarc.quantization``.
        bits: of a code.
    """

    kind: str = "mu-law"
    bits: int = 8

    def __post_init__(self) -> None:
        check_name("quantization in config.downstream_expert.datarc.quantization", self.kind, KINDS)

    @property
    def n_codes(self) -> int:
        """How many codes there are."""
        return 1 << self.bits

    @property
    def zero(self) -> int:
        """The code of silence, which stands before every sequence."""
        return 1 << (self.bits - 1)

    def encode(self, wav: Tensor) -> Tensor:
        """Waveforms (..., L) float32 -> codes (..., L) int64."""
        return KINDS[self.kind][0](wav, self.bits)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (..., L) -> waveforms (..., L) float32."""
        return KINDS[self.kind][1](codes, self.bits)


KINDS: dict[str, tuple[Callable[[Tensor, int], Tensor], Callable[[Tensor, int], Tensor]]] = {
    "linear": (linear_encode, linear_decode),
    "mu-law": (mulaw_encode, mulaw_decode),
}
