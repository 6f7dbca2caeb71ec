"""The parts of SaShiMi: pools, feed-forward layers, norms, residual blocks (spec: audio-generation.md 2).

All map (B, L, H) to (B, L', H'), and have ``default_state`` and ``step`` for one moment (B, H) after the other; a state is None where there
is nothing to remember. Names in the state dicts are those of the public code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from utility.errors import DataError

from .weight_norm import NormedWeight


class Pointwise(nn.Linear):
    """A linear layer whose weight has the shape (out, in, 1) of a convolution."""

    def __init__(self, d_input: int, d_output: int):
        super().__init__(d_input, d_output)
        self.weight = nn.Parameter(self.weight.detach()[..., None].clone())

    def matrix(self) -> Tensor:
        """(out, in)."""
        return self.weight[..., 0]

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        return F.linear(x, self.matrix(), self.bias)


class NormedLinear(NormedWeight):
    """A linear layer whose weight is a direction times a length for each output."""

    def __init__(self, d_input: int, d_output: int):
        super().__init__((d_output, d_input), (d_output,), lambda weight: nn.init.kaiming_uniform_(weight, a=math.sqrt(5)))
        nn.init.uniform_(self.bias, -(d_input**-0.5), d_input**-0.5)

    def matrix(self) -> Tensor:
        """(out, in)."""
        return self.value()

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        return F.linear(x, self.value(), self.bias)


def matrix_of(linear: nn.Module) -> Tensor:
    """The (out, in) matrix of any of the linear layers here."""
    return linear.matrix() if hasattr(linear, "matrix") else linear.weight


class ScalarNorm(nn.Module):
    """Mean and deviation over the features, then one scale s and one shift m for all: s (x - mean + m) / deviation; no epsilon."""

    def __init__(self) -> None:
        super().__init__()
        self.m, self.s = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        """(..., H) -> (..., H); constant features give 0, where the formula has 0/0."""
        deviation, mean = torch.std_mean(x, dim=-1, correction=0, keepdim=True)
        return (x - mean + self.m) * (self.s / deviation.clamp(min=torch.finfo(x.dtype).tiny ** 0.5))


class Norm(nn.Module):
    """A ``ScalarNorm`` under the name that the modular backbone has for it."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = ScalarNorm()

    def forward(self, x: Tensor) -> Tensor:
        """(..., H) -> (..., H)."""
        return self.norm(x)


class FeedForward(nn.Module):
    """Linear, GELU, dropout, linear, at each moment alone.

    Args:
        d_model: H.
        expand: inner width over H.
        dropout: probability.
        linear: the kind of linear layer.
    """

    def __init__(self, d_model: int, expand: int, dropout: float, linear: type[nn.Module] = nn.Linear):
        super().__init__()
        first = nn.Sequential(linear(d_model, d_model * expand), nn.GELU())
        self.ff = nn.Sequential(first, nn.Dropout(dropout), linear(d_model * expand, d_model))

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """(..., H) -> (..., H)."""
        return self.ff(x), None

    def setup_step(self, mode: str | None = None) -> None:
        """Nothing to prepare."""

    def default_state(self, *batch: int, device: Any = None) -> None:
        """Nothing to remember."""

    def step(self, x: Tensor, state: None) -> tuple[Tensor, None]:
        """(B, H) -> (B, H)."""
        return self.ff(x), None


class ResidualBlock(nn.Module):
    """x + dropout(layer(norm(x))).

    Args:
        norm: over the features.
        layer: an ``S4Block`` that is not transposed, or a ``FeedForward``.
        dropout: probability.
    """

    def __init__(self, norm: nn.Module, layer: nn.Module, dropout: float):
        super().__init__()
        self.layer, self.norm, self.dropout = layer, norm, nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, H) -> (B, L, H)."""
        return x + self.dropout(self.layer(self.norm(x))[0])

    def setup_step(self, mode: str | None = None) -> None:
        """See ``S4Block.setup_step``."""
        self.layer.setup_step(mode)

    def default_state(self, *batch: int, device: Any = None) -> Any:
        """The layer's."""
        return self.layer.default_state(*batch, device=device)

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """(B, H), state -> (B, H), state."""
        y, state = self.layer.step(self.norm(x), state)
        return x + self.dropout(y), state


class DownPool(nn.Module):
    """``pool`` moments become one: their features side by side, h·pool + s, and a linear layer.

    Args:
        d_input, d_output: widths.
        pool: moments.
        linear: the kind of linear layer.
    """

    def __init__(self, d_input: int, d_output: int, pool: int, linear: type[nn.Module]):
        super().__init__()
        self.pool, self.linear = pool, linear(d_input * pool, d_output)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, H) -> (B, L / pool, H').

        Raises:
            DataError: the length cannot be divided.
        """
        if x.shape[1] % self.pool:
            raise DataError(f"{x.shape[1]} moments cannot be pooled by {self.pool}: the length must be a multiple of all pools' product")
        return self.linear(x.unflatten(1, (-1, self.pool)).mT.flatten(2))

    def setup_step(self, mode: str | None = None) -> None:
        """Nothing to prepare."""

    def default_state(self, *batch: int, device: Any = None) -> list[Tensor]:
        """No moments yet."""
        return []

    def step(self, x: Tensor, state: list[Tensor]) -> tuple[Tensor | None, list[Tensor]]:
        """(B, H), the moments so far -> (B, H') or None as long as some are missing, and the moments."""
        state = [*state, x]
        if len(state) < self.pool:
            return None, state
        return self.linear(torch.stack(state, dim=-1).flatten(-2)), []


class UpPool(nn.Module):
    """One moment becomes ``pool`` moments, by a linear layer; one pooled moment late, so that nothing is known before its time.

    Args:
        d_input, d_output: widths.
        pool: moments.
        linear: the kind of linear layer.
        shift: False: not late, for models that may look ahead.
    """

    def __init__(self, d_input: int, d_output: int, pool: int, linear: type[nn.Module], shift: bool = True):
        super().__init__()
        self.pool, self.d_output, self.shift, self.linear = pool, d_output, shift, linear(d_input, d_output * pool)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, H) -> (B, L · pool, H')."""
        x = self.linear(x)
        if self.shift:
            x = F.pad(x[:, :-1], (0, 0, 1, 0))
        return x.unflatten(-1, (self.d_output, self.pool)).mT.flatten(1, 2)

    def setup_step(self, mode: str | None = None) -> None:
        """Nothing to prepare."""

    def default_state(self, *batch: int, device: Any = None) -> list[Tensor]:
        """Zeros, the moments before the first pooled one."""
        like = next(self.parameters())
        return [torch.zeros(*batch, self.d_output, dtype=like.dtype, device=device or like.device)] * self.pool

    def step(self, x: Tensor | None, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """(B, H) exactly at the last moment of a pool, None before; the moments in store -> (B, H'), moments in store."""
        y, *state = state
        if x is not None:
            state = list(self.linear(x).unflatten(-1, (self.d_output, self.pool)).unbind(-1))
        return y, state


def set_decay(module: nn.Module) -> None:
    """Biases and the parameters of norms get no weight decay, as in the public recipes."""
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            if name == "bias" or isinstance(part, ScalarNorm | nn.LayerNorm):
                parameter._optim = {"weight_decay": 0.0}


def widths(d_model: int, pool: Sequence[int], expand: int) -> list[int]:
    """The width of each level, from the top."""
    return [d_model * expand**level for level in range(len(pool) + 1)]
