"""The frames that the composite measures are computed on (composite.m of Loizou): 30 ms, a quarter of it apart."""

from __future__ import annotations

import numpy as np

from utility.errors import DataError

SECONDS = 0.03
KEPT = 0.95  # the part of the frames, from the best on, that means of distortions are of


def windowed(wave: np.ndarray, rate: int) -> np.ndarray:
    """(n,) -> (T, W) float64: frames of 30 ms times 0.5 (1 - cos(2 pi n / (W + 1))).

    Raises:
        DataError: there is not one frame.
    """
    width = round(SECONDS * rate)
    hop = width // 4
    count = int(len(wave) / hop - width / hop)
    if count < 1:
        raise DataError(f"a waveform of {len(wave)} samples is too short for frames of {width} samples at steps of {hop}")
    frames = np.lib.stride_tricks.sliding_window_view(wave.astype(np.float64), width)[: count * hop : hop]
    return frames * (0.5 * (1 - np.cos(2 * np.pi * np.arange(1, width + 1) / (width + 1))))


def mean_of_best(distortions: np.ndarray) -> float:
    """Mean of the lowest 95 % of (T,) distortions."""
    return float(np.mean(np.sort(distortions)[: max(1, round(KEPT * len(distortions)))]))
