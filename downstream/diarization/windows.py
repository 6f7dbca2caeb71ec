"""Long recordings: windows that overlap, the same speakers in all of them, and turns with times."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from utility.metrics.diarization_tuning import Setting
from utility.metrics.rttm import active, runs


def windows(length: int, size: int, step: int) -> Iterator[tuple[int, int]]:
    """Ranges of ``size`` every ``step`` that cover ``length``; the last one may be shorter."""
    start = 0
    while start + size < length:
        yield start, start + size
        start += step
    yield start, length


def joined(outputs: list[np.ndarray], step: int) -> np.ndarray:
    """Probabilities of windows that begin every ``step`` frames as those of the whole recording.

    The columns of a window are put into the order in which they agree best with those of the one before where both overlap; there, they
    are averaged.

    Args:
        outputs: (T_i, speakers) of each window.
        step: frames from the start of one to that of the next.

    Returns:
        (T, speakers).
    """
    frames = max(index * step + len(output) for index, output in enumerate(outputs))
    total, count = np.zeros((frames, outputs[0].shape[1])), np.zeros((frames, 1))
    before = outputs[0]
    for index, output in enumerate(outputs):
        if index:
            shared = min(len(before) - step, len(output))
            if shared > 0:
                agreement = before[step : step + shared].T @ output[:shared] + (1 - before[step : step + shared]).T @ (1 - output[:shared])
                output = output[:, linear_sum_assignment(agreement, maximize=True)[1]]
        total[index * step : index * step + len(output)] += output
        count[index * step : index * step + len(output)] += 1
        before = output
    return total / np.maximum(count, 1)


def turns_with_times(probabilities: np.ndarray, setting: Setting, seconds_per_frame: float) -> list[dict[str, Any]]:
    """Turns in the order of their starts, in seconds; speakers are numbered by the order in which they begin."""
    found = [
        (int(start), int(end), column)
        for column, stretches in enumerate(runs(active(probabilities, setting.threshold, setting.median)))
        for start, end in stretches
    ]
    names: dict[int, str] = {}
    turns = []
    for start, end, column in sorted(found):
        name = names.setdefault(column, f"speaker {len(names) + 1}")
        turns.append({"speaker": name, "start": round(start * seconds_per_frame, 3), "end": round(end * seconds_per_frame, 3)})
    return turns
