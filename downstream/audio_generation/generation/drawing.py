"""Which code comes next: drawn from the logits by one uniform number, so that a sequence is a function of the weights and these numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

BLOCK = 1024


@dataclass(frozen=True)
class Drawing:
    """
    Args:
        temp: logits are divided by it; 0: the likeliest code.
        top_p: draw from the smallest set of likeliest codes whose probabilities, at temperature 1, together exceed it.
    """

    temp: float = 1.0
    top_p: float = 1.0

    def __call__(self, logits: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """
        Args:
            logits: (B, n_codes).
            uniforms: (B,) float64 in [0, 1).

        Returns:
            codes (B,) int64, each the number of codes whose cumulative probability is at most the uniform number, and their log
            probabilities (B,) float64, natural, at temperature 1 among all codes, whatever they are drawn with.
        """
        if self.top_p == 1 and logits.device.type == "cpu" and logits.dtype == torch.float32:
            return self._looped(logits, uniforms)
        plain = torch.log_softmax(logits.double(), -1)
        if self.temp == 0:
            codes = logits.argmax(-1)
        else:
            cumulative = self.probabilities(logits, plain).cumsum(-1)
            codes = (cumulative <= uniforms[:, None]).sum(-1).clamp_(max=logits.size(-1) - 1)
        return codes, plain.gather(-1, codes[:, None])[:, 0]

    def _looped(self, logits: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        from .drawing_loops import draw  # compiles

        codes, likelihoods = np.empty(len(logits), np.int64), np.empty(len(logits))
        draw(logits.contiguous().numpy(), uniforms.contiguous().numpy(), float(self.temp), codes, likelihoods)
        return torch.from_numpy(codes), torch.from_numpy(likelihoods)

    def probabilities(self, logits: Tensor, plain: Tensor) -> Tensor:
        """(B, n_codes) float64, of the logits and their log-softmax, as they are drawn from."""
        if self.top_p < 1:
            logits = logits.masked_fill(~_nucleus(plain.exp(), self.top_p), -torch.inf)
        elif self.temp == 1:
            return plain.exp()
        return torch.softmax((logits.double() - logits.amax(-1, keepdim=True)) / self.temp, -1)  # a tiny temperature does not overflow


def _nucleus(shares: Tensor, top_p: float) -> Tensor:
    """Which codes are the likeliest, up to the first with which ``top_p`` is exceeded; (B, n_codes) bool."""
    ordered, order = shares.sort(-1, descending=True)
    return torch.zeros_like(shares, dtype=torch.bool).scatter(-1, order, ordered.cumsum(-1) - ordered <= top_p)


def entropies(logits: Tensor) -> Tensor:
    """(B, n_codes) -> (B,) float64, nats; 1e-6 is added to each probability before its logarithm, as published."""
    shares = torch.softmax(logits.double(), -1)
    return -(shares * (shares + 1e-6).log()).sum(-1)


class Uniforms:
    """One sequence of random numbers for each stream, whatever other streams are generated beside it.

    Args:
        seeds: what makes each stream's numbers its own, such as ``(seed, example, replica)``.
        device: where they are wanted.
    """

    def __init__(self, seeds: Sequence[Sequence[int]], device: str | torch.device = "cpu"):
        self.generators = [np.random.default_rng(list(seed)) for seed in seeds]
        self.device, self.position = device, BLOCK
        self.block = torch.empty(0)

    def __call__(self) -> Tensor:
        """(B,) float64 in [0, 1): the next number of each stream."""
        if self.position == BLOCK:
            drawn = np.stack([generator.random(BLOCK) for generator in self.generators], axis=1)
            self.block, self.position = torch.from_numpy(drawn).to(self.device), 0
        self.position += 1
        return self.block[self.position - 1]
