"""What a mask is trained to give, and what becomes of it: S3PRL's two recipes (specs 8.3 and 8.4).

All spectra are (T, F) complex: X of the noisy recording, S of the clean one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

EPSILON = 1e-10
_TAIL, _LAST = 2048, 512  # samples

Target = Callable[[Tensor, Tensor], Tensor]


def _amplitude(noisy: Tensor, clean: Tensor) -> Tensor:
    """|S|."""
    return clean.abs()


def _phase_sensitive(noisy: Tensor, clean: Tensor) -> Tensor:
    """|S| cos of the angle between X and S."""
    return (clean * noisy.conj()).real / noisy.abs().clamp_min(torch.finfo(torch.float32).tiny)


def _positive_phase_sensitive(noisy: Tensor, clean: Tensor) -> Tensor:
    """The same, at least 0."""
    return _phase_sensitive(noisy, clean).relu()


TARGETS: dict[str, Target] = {"AM": _amplitude, "PSM": _phase_sensitive, "NPSM": _positive_phase_sensitive}


def squared_error(mask: Tensor, noisy: Tensor, clean: Tensor, target: Target) -> Tensor:
    """Sum of (M |X| - target)^2 over bins and frames, divided by the number of frames."""
    return (mask * noisy.abs() - target(noisy, clean)).square().sum() / len(mask)


def log_difference(mask: Tensor, noisy: Tensor, clean: Tensor, target: Target) -> Tensor:
    """Sum of |M log(1 + |X|) - log(1 + target)| over bins and frames, divided by the number of frames."""
    return (mask * noisy.abs().log1p() - target(noisy, clean).clamp_min(0).log1p()).abs().sum() / len(mask)


def masked(mask: Tensor, noisy: Tensor) -> Tensor:
    """M X."""
    return mask * noisy


def masked_logs(mask: Tensor, noisy: Tensor) -> Tensor:
    """exp(M log(1 + |X|)) - 1, with the phase of X."""
    magnitude = noisy.abs()
    return torch.expm1(mask * magnitude.log1p()) * noisy / (magnitude + EPSILON)


def without_spike(wave: Tensor) -> Tensor:
    """(N,) with zeros from where, in the last 512 samples that are not 0, one is above all before them.

    Where a recording is cut hard, the inverse transform may end in such a spike. A waveform with more than 2,048 zeros at its end stays.
    """
    nonzero = wave.nonzero()
    end = int(nonzero[-1]) + 1 if len(nonzero) else 0
    start = max(0, end - _LAST)
    if end < len(wave) - _TAIL or start == 0:
        return wave
    above = (wave[start:end].abs() > wave[:start].abs().max()).nonzero()
    if not len(above):
        return wave
    quiet = wave.clone()
    quiet[start + int(above[0]) :] = 0
    return quiet
