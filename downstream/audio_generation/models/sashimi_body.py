"""The way through SaShiMi's levels, the same for whole sequences and for single steps (Goel et al., 2022; spec: audio-generation.md 2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from utility.errors import ConfigError

from .s4_layer import LongConvolution

Layer = Callable[[nn.Module, Tensor | None], Tensor | None]


@dataclass(frozen=True)
class Level:
    """What stands around the next deeper level.

    Args:
        before: blocks on the way down; none without ``unet``.
        down, up: the pools.
        after: blocks on the way up.
    """

    before: Sequence[nn.Module]
    down: nn.Module
    up: nn.Module
    after: Sequence[nn.Module]


class SashimiBody(nn.Module):
    """Base of the two SaShiMi backbones, which differ in norms, linear layers and the names of their weights.

    A subclass sets ``d_layers``, ``c_layers``, ``u_layers``, ``norm`` and calls ``_arrange``.

    Attributes:
        d_model: width of input and output.
        pool: moments that each pool joins.
        unet: blocks stand on the way down too, and each has its own skip connection.
        levels: from the top.
    """

    goes_on = False

    def _arrange(self, d_model: int, pool: Sequence[int], unet: bool, down: list[nn.Module], up: list[nn.Module]) -> None:
        """Finds the levels in the flat lists of modules on the way down and on the way up."""
        self.d_model, self.pool, self.unet = d_model, tuple(pool), unet
        blocks = len(up) // len(pool) - 1
        inner = blocks if unet else 0
        rows = [(down[i * (inner + 1) :][: inner + 1], up[i * (blocks + 1) :][: blocks + 1]) for i in range(len(pool))]
        backwards = [right for _, right in rows][::-1]
        self.levels = [Level(left[:-1], left[-1], right[0], right[1:]) for (left, _), right in zip(rows, backwards, strict=True)]
        self._ordered = [*down, *self.c_layers, *up]

    def _through(self, layer: Layer, x: Tensor, depth: int = 0) -> Tensor:
        """From the input of a level to its output, by what ``layer`` does with each module."""
        if depth == len(self.levels):
            y = x
            for block in self.c_layers:
                y = layer(block, y)
            return x + y
        level = self.levels[depth]
        skips = [x]
        for block in level.before:
            skips.append(layer(block, skips[-1]))
        pooled = layer(level.down, skips[-1])
        y = layer(level.up, None if pooled is None else self._through(layer, pooled, depth + 1))
        y = start = y + skips.pop()
        for block in level.after:
            y = layer(block, y)
            y = y + skips.pop() if self.unet else y
        return y if self.unet else y + start

    def _whole(self, x: Tensor) -> Tensor:
        """(B, L, H) -> (B, L, H)."""
        return self.norm(self._through(lambda module, value: module(value), x))

    @property
    def reach(self) -> float:
        """Up to how many moments steps equal a forward pass: ``l_max`` of an S4 layer cuts its kernel, and no step."""
        rows, pooled = [], 1
        for level in self.levels:
            rows.append((pooled, [*level.before, *level.after]))
            pooled *= level.down.pool
        rows.append((pooled, self.c_layers))
        limits = [
            part.l_max * pooled
            for pooled, blocks in rows
            for part in nn.ModuleList(blocks).modules()
            if isinstance(part, LongConvolution) and part.l_max is not None
        ]
        return min(limits, default=math.inf)

    def _schedule(self) -> Iterator[nn.Module]:
        """The modules that have a state, in the order of the state's list."""
        yield from self._ordered

    def setup_step(self, mode: str | None = None) -> None:
        """Prepares ``step`` from the weights of now; again after any change of them.

        Args:
            mode: "dense", "diagonal" or "linear", for S4 layers of the diagonal-plus-low-rank kind; None: "dense".

        Raises:
            ConfigError: the model is bidirectional.
        """
        for module in self._schedule():
            module.setup_step(mode)

    def default_state(self, *batch: int, device: Any = None) -> list[Any]:
        """The state before the first step, one entry for each layer, down, centre, up."""
        return [module.default_state(*batch, device=device) for module in self._schedule()]

    def step(self, x: Tensor, state: list[Any]) -> tuple[Tensor, list[Any]]:
        """(B, H), state -> (B, H), state; the given state stays as it is."""
        state = list(state)
        place = {module: index for index, module in enumerate(self._schedule())}

        def layer(module: nn.Module, value: Tensor | None) -> Tensor | None:
            index = place[module]
            y, state[index] = module.step(value, state[index])
            return y

        return self.norm(self._through(layer, x)), state


def check_shape(n_layers: int, pool: Sequence[int], **factors: int) -> None:
    """Refuses sizes that make no SaShiMi.

    Raises:
        ConfigError: all faults.
    """
    faults = [f"pool holds {p!r}: each must be a whole number of at least 1" for p in pool if not isinstance(p, int) or p < 1]
    faults += ["pool is empty: at least one pool is needed"] if not pool else []
    faults += [f"{name} is {value}: it must be at least 1" for name, value in {"n_layers": n_layers, **factors}.items() if value < 1]
    if faults:
        raise ConfigError(faults)
