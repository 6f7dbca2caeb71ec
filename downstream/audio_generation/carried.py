"""The state that a network carries from one chunk of its sequences to the next."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class Carried:
    """What the last chunk left, of each process; all processes know all of it, so that any of them can save it.

    Attributes:
        states: one entry a process: tensors in lists and tuples, or None.
    """

    def __init__(self) -> None:
        self.states: list[Any] = [None]

    @property
    def _rank(self) -> int:
        return dist.get_rank() if dist.is_initialized() else 0

    def of_this_process(self, device: torch.device) -> Any:
        """The state that the next chunk begins with."""
        return _each(self.states[self._rank] if self._rank < len(self.states) else None, lambda tensor: tensor.to(device))

    def put(self, state: Any) -> None:
        """Keeps the state that a chunk ended with, without its gradients."""
        self.states = [None] * self._rank + [_each(state, Tensor.detach)]

    def exchange(self) -> None:
        """Makes the states of all processes known to all."""
        if not dist.is_initialized() or dist.get_world_size() == 1:
            return
        gathered: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(gathered, _each(self.states[-1], Tensor.cpu))
        self.states = gathered


def _each(state: Any, function: Any) -> Any:
    """The state with a function applied to each tensor."""
    if isinstance(state, Tensor):
        return function(state)
    return [_each(part, function) for part in state] if isinstance(state, list | tuple) else state
