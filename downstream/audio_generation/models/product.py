"""Matrix times vectors into a buffer of its own, for models that go step by step."""

from __future__ import annotations

import torch
from torch import Tensor


class Product:
    """x -> W x + b for a batch of vectors; the result lies in the same buffer every time, until the next call.

    One vector is multiplied by rows of W, several by its columns, which is how the math libraries are quickest.

    Args:
        weight: (out, in).
        bias: (out,), or None.
        batch: number of vectors.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, batch: int):
        weight = weight.detach()
        self.single = batch == 1
        self.weight = (
            weight.clone(memory_format=torch.contiguous_format) if self.single else weight.T.clone(memory_format=torch.contiguous_format)
        )
        self.bias = weight.new_zeros(len(weight)) if bias is None else bias.detach().clone()
        self.result = weight.new_empty(batch, len(weight))

    def __call__(self, x: Tensor) -> Tensor:
        """(B, in) -> (B, out)."""
        if self.single:
            torch.addmv(self.bias, self.weight, x[0], out=self.result[0])
        else:
            torch.addmm(self.bias, x, self.weight, out=self.result)
        return self.result


class ColumnProduct:
    """The same for vectors that stand in columns, (in, B) -> (out, B): quickest where a weight is too large for the caches.

    Args:
        weight: (out, in).
        bias: (out,).
        batch: number of vectors.
    """

    def __init__(self, weight: Tensor, bias: Tensor, batch: int):
        self.weight = weight.detach().clone(memory_format=torch.contiguous_format)
        self.bias = bias.detach().clone().unsqueeze(1) if bias.any() else None
        self.result = weight.new_empty(len(weight), batch)

    def __call__(self, x: Tensor) -> Tensor:
        """(in, B) -> (out, B)."""
        if self.bias is None:
            return torch.mm(self.weight, x, out=self.result)
        return torch.addmm(self.bias, self.weight, x, out=self.result)
