"""A moving average of a network's weights."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Average(nn.Module):
    """``decay * average + (1 - decay) * weights`` after each update, from the weights after the first.

    Numbers that are no weights (buffers) are those of the network. Where a whole number among them differs from the average's own, the
    weights have another meaning than before, and the average begins anew with them.

    Args:
        model: whose weights.
        decay: of the average; 0 follows the weights at once.

    Attributes:
        model: the network with the averaged weights.
        updates: how many updates went into the average.
    """

    def __init__(self, model: nn.Module, decay: float):
        super().__init__()
        self.decay = decay
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """After an update of the weights."""
        if self.updates == 0 or self._differs(model):
            self.model.load_state_dict(model.state_dict())
        else:
            torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), 1 - self.decay)
            for mine, new in zip(self.model.buffers(), model.buffers(), strict=True):
                mine.copy_(new)
        self.updates += 1

    def _differs(self, model: nn.Module) -> bool:
        pairs = zip(self.model.buffers(), model.buffers(), strict=True)
        others = [(mine != new).any() for mine, new in pairs if not mine.is_floating_point()]
        return bool(others) and bool(torch.stack(others).any())  # one transfer from a GPU
