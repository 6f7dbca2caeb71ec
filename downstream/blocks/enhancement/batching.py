"""Signals of different lengths as one batch: padded with zeros to the longest, or trimmed to the shortest."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

STRATEGIES = ("pad", "trim")


def lengths_of(signals: Sequence[Tensor]) -> Tensor:
    """(B,) lengths along the last axis."""
    return torch.tensor([signal.size(-1) for signal in signals])


def padded(signals: Sequence[Tensor]) -> Tensor:
    """List of (..., N_i) -> (B, ..., max N_i), zeros at the end."""
    longest = max(signal.size(-1) for signal in signals)
    return torch.stack([functional.pad(signal, (0, longest - signal.size(-1))) for signal in signals])


def trimmed(signals: Sequence[Tensor]) -> Tensor:
    """List of (..., N_i) -> (B, ..., min N_i); what is longer loses its end."""
    shortest = min(signal.size(-1) for signal in signals)
    return torch.stack([signal[..., :shortest] for signal in signals])


def mask_of(lengths: Tensor, longest: int | None = None) -> Tensor:
    """(B,) lengths -> (B, longest) float: 1 where there is signal, 0 where there is padding."""
    longest = int(lengths.max()) if longest is None else longest
    return (torch.arange(longest, device=lengths.device) < lengths.unsqueeze(1)).float()
