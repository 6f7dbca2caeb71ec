"""Weights that are a direction times a length (Salimans and Kingma 2016), under the names ``weight_v`` and ``weight_g`` of older PyTorch.

Public checkpoints have these names; the parametrization of today's PyTorch has others.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

Initialiser = Callable[[Tensor], object]


class NormedWeight(nn.Module):
    """The tensor g v / |v|, with the norm over all dimensions but the first; and a bias, which the caller adds.

    Args:
        shape: of the weight.
        bias: shape of the bias, zero at first; None: there is none.
        init: fills the weight in place.
        normed: False makes it an ordinary parameter ``weight``.
    """

    def __init__(self, shape: tuple[int, ...], bias: tuple[int, ...] | None, init: Initialiser, normed: bool = True):
        super().__init__()
        self.register_parameter("bias", None if bias is None else nn.Parameter(torch.zeros(bias)))
        value = torch.empty(shape)
        init(value)
        self.normed, self._over = normed, tuple(range(1, len(shape)))
        if normed:
            self.weight_g = nn.Parameter(self._length(value))
            self.weight_v = nn.Parameter(value)
        else:
            self.weight = nn.Parameter(value)

    def _length(self, value: Tensor) -> Tensor:
        return torch.linalg.vector_norm(value, dim=self._over, keepdim=True)

    def value(self) -> Tensor:
        """The weight as it is used."""
        return self.weight_v * (self.weight_g / self._length(self.weight_v)) if self.normed else self.weight

    def fold(self) -> None:
        """Makes the weight an ordinary parameter, as it is used now."""
        if self.normed:
            value = self.value().detach()
            del self.weight_g, self.weight_v
            self.weight, self.normed = nn.Parameter(value), False


def folded(module: nn.Module) -> nn.Module:
    """A copy of the module whose weights need no normalisation any more, for use without training."""
    copied = copy.deepcopy(module)
    for part in copied.modules():
        if isinstance(part, NormedWeight):
            part.fold()
    return copied.eval().requires_grad_(False)
