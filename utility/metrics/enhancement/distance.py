"""Distances between waveforms: mean squared error, signal-to-noise ratio, its scale-invariant forms.

All take a reference and an estimate, (n,) each. Ratios are in dB: infinite where the estimate is perfect, minus infinity where the
reference is silent, NaN where both are so. Sums run in the precision of the arrays (float32 as in the public code).
"""

from __future__ import annotations

import numpy as np


def mean_squared_error(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Mean of the squared differences."""
    return float(np.mean(np.square(estimate - reference)))


def signal_to_noise(reference: np.ndarray, estimate: np.ndarray) -> float:
    """10 log10(sum r^2 / sum (d - r)^2)."""
    return _decibels(np.sum(np.square(reference)), np.sum(np.square(estimate - reference)))


def scale_invariant(reference: np.ndarray, estimate: np.ndarray, zero_mean: bool = False) -> float:
    """10 log10(sum (a r)^2 / sum (d - a r)^2) with a = <r, d> / sum r^2 (Le Roux et al. 2019).

    Args:
        reference, estimate: (n,) each.
        zero_mean: take the mean out of both first, as torchmetrics, asteroid and S3PRL do; the STM32 zoo does not.
    """
    if zero_mean:
        reference, estimate = reference - reference.mean(), estimate - estimate.mean()
    energy = np.sum(np.square(reference))
    if not energy:
        return float("nan")
    target = np.dot(reference, estimate) / energy * reference
    return _decibels(np.sum(np.square(target)), np.sum(np.square(estimate - target)))


def _decibels(signal: np.floating, noise: np.floating) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(10 * np.log10(signal / noise))
