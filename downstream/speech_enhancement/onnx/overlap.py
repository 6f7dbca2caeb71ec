"""Overlap-add in time: frames at steps of a hop, divided by the sum of what each sample was weighted with."""

from __future__ import annotations

import numpy as np

_SILENT = 1e-11  # sums of weights up to here divide nothing, as in torch's inverse transform


class OverlapAdd:
    """Frames in, samples out as soon as no later frame reaches them.

    Args:
        hop: samples from frame to frame.
        weights: (W,) what the frames were multiplied with in all: the window, or its square if analysis and synthesis both had it.
    """

    def __init__(self, hop: int, weights: np.ndarray):
        self.hop, self._weights = hop, weights
        self._sum = np.zeros(0, weights.dtype)
        self._weight = np.zeros(0, weights.dtype)

    def add(self, frames: np.ndarray) -> np.ndarray:
        """(T, W) frames -> (T hop,) samples."""
        count, width = frames.shape
        if not count:
            return np.zeros(0, self._sum.dtype)
        length = (count - 1) * self.hop + max(width, self.hop)
        self._sum, self._weight = (np.pad(line, (0, max(0, length - len(line)))) for line in (self._sum, self._weight))
        for number, frame in enumerate(frames):
            start = number * self.hop
            self._sum[start : start + width] += frame
            self._weight[start : start + width] += self._weights
        return self._take(count * self.hop)

    def rest(self) -> np.ndarray:
        """The samples that the last frame still reaches."""
        return self._take(len(self._sum))

    def _take(self, count: int) -> np.ndarray:
        done, weight = self._sum[:count], self._weight[:count]
        self._sum, self._weight = self._sum[count:], self._weight[count:]
        return np.divide(done, weight, out=np.zeros_like(done), where=weight > _SILENT)


def overlap_add(frames: np.ndarray, hop: int, window: np.ndarray | None = None, length: int | None = None) -> np.ndarray:
    """(T, W) frames -> ((T - 1) hop + W,) samples, or ``length`` of them; where all windows are zero, and beyond them, zeros.

    (The STM32 zoo's function drops the samples where windows are zero, and takes no notice of a smaller length.)

    Args:
        frames: not yet multiplied with a window.
        hop: samples from frame to frame, the width at most.
        window: (W,); ones by default.
        length: of the result.
    """
    window = np.ones(frames.shape[1], frames.dtype) if window is None else window
    adder = OverlapAdd(hop, window.astype(frames.dtype))
    whole = np.concatenate([adder.add(frames * window), adder.rest()])
    return whole if length is None else np.pad(whole[:length], (0, max(0, length - len(whole))))
