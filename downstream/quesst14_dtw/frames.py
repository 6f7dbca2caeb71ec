"""Features of a whole corpus, on disk, with their statistics."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

BLOCK = 2**14  # frames


@dataclass
class Statistics:
    """Mean and standard deviation of each dimension, gathered recording by recording in float64.

    Args:
        count: frames so far.
        mean: (D,) of them.
        squares: (D,) sum of squared deviations from the mean.
    """

    count: int = 0
    mean: np.ndarray = field(default_factory=lambda: np.zeros(1))
    squares: np.ndarray = field(default_factory=lambda: np.zeros(1))

    def add(self, frames: np.ndarray) -> None:
        """Takes (T, D) more frames (Chan, Golub and LeVeque's update)."""
        for start in range(0, len(frames), BLOCK):
            self._add_block(frames[start : start + BLOCK].astype(np.float64))

    def _add_block(self, frames: np.ndarray) -> None:
        total, mean = self.count + len(frames), frames.mean(axis=0)
        difference = mean - self.mean
        self.squares = self.squares + np.square(frames - mean).sum(axis=0) + np.square(difference) * (self.count * len(frames) / total)
        self.mean, self.count = self.mean + difference * (len(frames) / total), total

    def normalise(self, frames: np.ndarray) -> np.ndarray:
        """(T, D) float64 with mean 0 and unbiased standard deviation 1 over all frames seen."""
        deviation = np.sqrt(self.squares / max(self.count - 1, 1))
        return (frames - self.mean) / np.maximum(deviation, 1e-9)


class FrameStore:
    """Features in a nameless file that ends with the process; can be read by several threads.

    Args:
        folder: where there is room for all of them: 4 D bytes a frame.
    """

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - lives as long as the store
        self._places: list[tuple[int, tuple[int, int]]] = []
        self._end = 0
        self.statistics = Statistics()

    def add(self, frames: np.ndarray) -> int:
        """Stores (T, D) float32 and returns its number."""
        self._places.append((self._end, frames.shape))
        self._file.seek(self._end)
        self._end += self._file.write(np.ascontiguousarray(frames, np.float32).tobytes())
        self.statistics.add(frames)
        return len(self._places) - 1

    def read(self, number: int) -> np.ndarray:
        """(T, D) float32."""
        self._file.flush()
        start, shape = self._places[number]
        return np.frombuffer(os.pread(self._file.fileno(), 4 * shape[0] * shape[1], start), np.float32).reshape(shape)

    def close(self) -> None:
        """Gives the room back."""
        self._file.close()
