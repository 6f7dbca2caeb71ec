"""Writes the list of operations that is one step of SaShiMi; ``step_kernels`` runs it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from . import step_kernels as kernels
from .recurrence import HalfStep
from .s4_layer import S4Block
from .sashimi_blocks import DownPool, FeedForward, ResidualBlock, ScalarNorm, UpPool, matrix_of
from .sashimi_body import SashimiBody
from .state_kernels import state_numbers

ALIGNMENT = 16  # float32 numbers: a cache line


class Program:
    """Operations, weights and sizes of one step for ``batch`` sequences, float32.

    Args:
        body: the backbone, causal.
        batch: B.
        encoder: embedding (n_codes, H).
        decoder: matrix (n_codes, H) and bias (n_codes) of the logits.

    Attributes:
        ops: (n, ``step_kernels.COLUMNS``) int64.
        weights: float32.
        size: numbers of activations and states.
        pools: number of pools.
        logits: where the logits (n_codes, B) lie.
    """

    def __init__(self, body: SashimiBody, batch: int, encoder: Tensor, decoder: tuple[Tensor, Tensor]):
        self.batch, self.size, self.pools = batch, 0, 0
        self._rows: list[list[int]] = []
        self._weights: list[np.ndarray] = []
        self._stored = 0
        self._levels = body.levels
        self._centre = list(body.c_layers)
        self._unet = body.unet
        layers = [part for part in body.modules() if isinstance(part, S4Block | FeedForward)]
        inner = max(_widest(layer) for layer in layers)
        self._normed, self._wide, self._mixed = (self._room(inner) for _ in range(3))
        x = self._room(body.d_model)
        self._op(kernels.EMBED, x, self._keep(encoder), body.d_model)
        y = self._level(0, x, body.d_model)
        self._norm(body.norm, y, self._normed, body.d_model)
        self.logits = self._room(len(encoder))
        self._linear(*decoder, self._normed, self.logits)
        self.ops = np.array([row + [0] * (kernels.COLUMNS - len(row)) for row in self._rows], dtype=np.int64)
        self.weights = np.concatenate(self._weights)

    def _room(self, width: int) -> int:
        """Where there is room for (width, B) numbers."""
        return self._numbers(self.batch * width)

    def _numbers(self, numbers: int) -> int:
        begin = self.size
        self.size += -(-numbers // ALIGNMENT) * ALIGNMENT
        return begin

    def _keep(self, *tensors: Tensor) -> int:
        """Where these weights lie, one behind the other."""
        begin = self._stored
        flat = np.concatenate([tensor.detach().double().cpu().numpy().reshape(-1) for tensor in tensors]).astype(np.float32)
        padding = np.zeros(-len(flat) % ALIGNMENT, dtype=np.float32)
        self._weights += [flat, padding]
        self._stored += len(flat) + len(padding)
        return begin

    def _op(self, kind: int, *operands: int) -> int:
        self._rows.append([kind, *operands])
        return len(self._rows) - 1

    def _linear(self, matrix: Tensor, bias: Tensor, x: int, out: int) -> None:
        self._op(kernels.LINEAR, x, out, matrix.shape[1], matrix.shape[0], self._keep(matrix.mT if self.batch == 1 else matrix, bias))

    def _norm(self, norm: nn.Module, x: int, out: int, width: int) -> None:
        scalar = next((part for part in norm.modules() if isinstance(part, ScalarNorm)), None)
        if scalar is not None:
            self._op(kernels.NORM_SCALAR, x, out, width, self._keep(scalar.s, scalar.m))
        else:
            self._op(kernels.NORM_LAYER, x, out, width, self._keep(norm.weight, norm.bias), self._keep(torch.tensor(norm.eps)))

    def _level(self, depth: int, x: int, width: int) -> int:
        """Emits a level and all beneath; where its output lies."""
        if depth == len(self._levels):
            out = self._copied(x, width)
            for block in self._centre:
                self._block(block, out, out, width)
            self._op(kernels.ADD, x, out, out, width)
            return out
        level, skips = self._levels[depth], [x]
        for block in level.before:
            skips.append(self._room(width))
            self._block(block, skips[-2], skips[-1], width)
        y = self._pooled(level.down, level.up, depth, skips[-1], width)
        self._op(kernels.ADD, y, skips.pop(), y, width)
        start = y if self._unet else self._copied(y, width)
        for block in level.after:
            self._block(block, y, y, width)
            if self._unet:
                self._op(kernels.ADD, y, skips.pop(), y, width)
        if not self._unet:
            self._op(kernels.ADD, y, start, y, width)
        return y

    def _copied(self, x: int, width: int) -> int:
        out = self._room(width)
        self._op(kernels.COPY, x, out, width)
        return out

    def _pooled(self, down: DownPool, up: UpPool, depth: int, x: int, width: int) -> int:
        """The way through the deeper levels, which is taken when a pool is full; the output for this moment."""
        pool, phase = down.pool, self.pools
        self.pools += 1
        deep = matrix_of(down.linear).shape[0]
        store, pooled = self._room(width * pool), self._room(deep)
        slots, out = self._room(width * pool), self._room(width)
        gather = self._op(kernels.GATHER, x, store, width, pool, phase, 0)
        by_moment = matrix_of(down.linear).unflatten(1, (width, pool)).mT.flatten(1)
        self._linear(by_moment, down.linear.bias, store, pooled)
        lower = self._level(depth + 1, pooled, deep)
        self._rows[gather][6] = self._op(kernels.POP, out, slots, width, pool, phase)
        unless = self._op(kernels.UNLESS_FULL, phase, 0)
        matrix, bias = (value.unflatten(0, (width, pool)).transpose(0, 1).flatten(0, 1) for value in (matrix_of(up.linear), up.linear.bias))
        self._linear(matrix, bias, lower, slots)
        self._rows[unless][2] = len(self._rows)
        return out

    def _block(self, block: ResidualBlock, x: int, out: int, width: int) -> None:
        """out = x + layer(norm(x))."""
        self._norm(block.norm, x, self._normed, width)
        if isinstance(block.layer, FeedForward):
            first, last = block.layer.ff[0][0], block.layer.ff[2]
            self._linear(matrix_of(first), first.bias, self._normed, self._wide)
            self._op(kernels.GELU, self._wide, matrix_of(first).shape[0])
            self._linear(matrix_of(last), last.bias, self._wide, self._mixed)
            self._op(kernels.ADD, x, self._mixed, out, width)
            return
        self._state_space(block.layer, width)
        self._op(kernels.GELU, self._wide, width)
        if not len(block.layer.output_linear):
            self._op(kernels.ADD, x, self._wide, out, width)
            return
        mixing = block.layer.output_linear[0]
        self._linear(mixing.weight, mixing.bias, self._wide, self._mixed)
        if isinstance(block.layer.output_linear[1], nn.GLU):
            self._op(kernels.GLU_ADD, self._mixed, x, out, width)
        else:
            self._op(kernels.ADD, x, self._mixed, out, width)

    def _state_space(self, layer: S4Block, width: int) -> None:
        step: HalfStep = layer.layer.kernel.recurrence("linear")
        states, rank = step.a_bar.shape[1], len(step.left)
        state = self._numbers(state_numbers(width, states, rank, self.batch))
        self._op(
            kernels.STATE_SPACE,
            self._normed,
            self._wide,
            width,
            states,
            rank,
            self._keep(coefficients(step)),
            state,
            self._keep(layer.layer.D),
        )


def coefficients(step: HalfStep) -> Tensor:
    """What ``state_kernels.state_space`` wants to have of a step with one channel: (H, 6 + 4 rank, N/2) float64."""
    parts = [step.a_bar - 1, step.b_bar, 2 * step.c_bar[0]]
    for left, right in zip(step.left, step.right, strict=True):
        parts += [left, 2 * right]
    return torch.stack([part for value in parts for part in (value.real, value.imag)], dim=1).detach()


def fusable(body: SashimiBody) -> bool:
    """Whether the list of operations can say all that the model does."""
    return all(_plain(part) for part in body.modules() if isinstance(part, S4Block))


def _plain(block: S4Block) -> bool:
    rank = block.layer.kernel.rank if block.layer.kernel.low_rank else 0
    return block.standard and block.layer.channels == 1 and rank <= 2 and not block.layer.bidirectional


def _widest(layer: S4Block | FeedForward) -> int:
    sizes: Sequence[int] = [size for part in layer.modules() if isinstance(part, nn.Linear) for size in matrix_of(part).shape]
    return max(sizes, default=layer.layer.kernel.d_model if isinstance(layer, S4Block) else 1)
