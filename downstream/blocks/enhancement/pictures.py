"""Spectrograms of a recording before and after."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

from utility.experiment.figures import new_figure

RANGE_DB = 80.0
WINDOW_S, HOP_S = 0.032, 0.008


def draw_before_and_after(before: np.ndarray, after: np.ndarray, rate: int, path: Path) -> None:
    """Two spectrograms on one scale of colours, in dB below the loudest point of both.

    Args:
        before, after: (n,) waveforms.
        rate: in Hz.
        path: the PNG to write.
    """
    powers = [decibels(wave, rate) for wave in (before, after)]
    top = max(float(power.max()) for power in powers)
    figure = new_figure(figsize=(12, 8))
    extent = (0, len(before) / rate, 0, rate / 2000)
    for axes, power, title in zip(figure.subplots(2, 1, sharex=True), powers, ("before", "after"), strict=True):
        image = axes.imshow(power - top, aspect="auto", origin="lower", extent=extent, vmin=-RANGE_DB, vmax=0, cmap="magma")
        axes.set(title=title, ylabel="kHz")
    axes.set(xlabel="s")
    figure.colorbar(image, ax=figure.axes, label="dB")
    figure.savefig(path)


def decibels(wave: np.ndarray, rate: int) -> np.ndarray:
    """(F, T) power spectrum in dB."""
    length = max(2, int(WINDOW_S * rate))
    transform = ShortTimeFFT(hann(length, sym=False), max(1, int(HOP_S * rate)), rate)
    padded = np.pad(wave, (0, max(0, length - len(wave))))
    return 10 * np.log10(transform.spectrogram(padded) + 1e-12)
