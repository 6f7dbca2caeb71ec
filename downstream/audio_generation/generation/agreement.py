"""Whether a network says step by step what it says of a whole sequence."""

from __future__ import annotations

import math

import torch

from utility.errors import ToolkitError

from ..models.code_model import CodeModel

LEAST, STREAMS = 64, 2
TOLERANCE = 1e-3  # float32, of the largest logit


@torch.no_grad()
def check_steps(model: CodeModel, zero: int, device: str, mode: str | None = None) -> float:
    """Compares both on two sequences of 64 ones, or as many as the pools can join.

    Returns:
        the largest difference, as a part of the largest logit.

    Raises:
        ToolkitError: it is beyond :data:`TOLERANCE`.
    """
    pooled = math.prod(getattr(model.model, "pool", ()))
    codes = torch.ones(STREAMS, math.ceil(LEAST / pooled) * pooled, dtype=torch.int64, device=device)
    before = torch.full((STREAMS, model.warm_up), zero, dtype=torch.int64, device=device)
    whole, _ = model(torch.cat([before, codes], 1))
    stepper = model.stepper(STREAMS, mode)
    stepper.reset()
    for _ in range(stepper.warm_up):
        stepper.step(torch.full((STREAMS,), zero, dtype=torch.int64, device=device))
    stepped = torch.stack([stepper.step(column).clone() for column in codes.T], 1)
    worst = ((whole - stepped).abs().max() / whole.abs().max().clamp(min=1e-6)).item()
    if not worst <= TOLERANCE:
        raise ToolkitError(f"the steps differ from the forward pass by {worst:.1e} of the largest logit, more than {TOLERANCE:.0e}")
    return worst
