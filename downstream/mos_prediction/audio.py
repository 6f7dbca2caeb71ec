"""How a predictor hears a recording: one channel at its rate, its first ten seconds, and a little silence around what is very short."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from utility.audio.io import load_audio

SAMPLE_RATE = 16000
HEARD = 10.0  # seconds of a recording, unless a config says otherwise
LEAST = 1040  # samples; shorter recordings would give an SSL encoder less than a frame or two


def load(path: str | Path, seconds: float | None = HEARD) -> np.ndarray:
    """(n,) float32 at 16 kHz, of any rate and number of channels.

    Args:
        seconds: no more than the first so many; None for all (what was published before September 2025).

    Raises:
        DataError: the file cannot be read.
    """
    return within_limits(load_audio(path, SAMPLE_RATE), seconds)


def within_limits(wav: np.ndarray, seconds: float | None = HEARD) -> np.ndarray:
    """A waveform at 16 kHz as :func:`load` gives it: (n,) float32, its beginning, with silence around what is very short."""
    wav = wav if seconds is None else wav[: round(seconds * SAMPLE_RATE)]
    side = max(0, LEAST - len(wav)) // 2
    return np.pad(wav, side) if side else wav


def repeated(wav: np.ndarray, samples: int) -> np.ndarray:
    """The waveform again and again until it has so many samples."""
    return np.resize(wav, samples)


def segments(wav: np.ndarray, length: int = SAMPLE_RATE) -> list[np.ndarray]:
    """Windows of a second that overlap by half; zeros fill the last one."""
    step = length // 2
    total = length if len(wav) < length else (len(wav) // step + 1) * step
    filled = np.pad(wav, (0, max(0, total - len(wav))))
    return [filled[start : start + length] for start in range(0, total - step, step)]
