"""What is computed again in the backward pass, so that it need not be kept for it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def recomputed(function: Callable[..., Tensor], *arguments: Tensor | int) -> Tensor:
    """``function(*arguments)``, of which only the arguments are kept; it draws no random numbers."""
    if not torch.is_grad_enabled():
        return function(*arguments)  # the first call of checkpoint imports PyTorch's compiler, for seconds
    return checkpoint(function, *arguments, use_reentrant=False, preserve_rng_state=False)
