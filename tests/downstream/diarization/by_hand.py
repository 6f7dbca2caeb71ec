"""Error rates counted by hand: millisecond by millisecond, with every order of the speakers tried."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Turns = Mapping[str, np.ndarray]


def der_by_hand(
    references: Mapping[str, Turns], probabilities: Mapping[str, np.ndarray], frame_ms: int, threshold: float, median: int
) -> float:
    """The diarization error rate of all recordings together, a fraction.

    Args:
        references: turns (n, 2) in seconds, to the millisecond, by speaker and recording.
        probabilities: (frames, speakers) by recording; what a recording lacks is silence.
        frame_ms: whole milliseconds of a frame.
        threshold: what a probability must exceed.
        median: frames of the median filter, odd; beyond the ends there is silence.
    """
    wrong = spoken = 0
    for name, speakers in references.items():
        system = np.repeat(_filtered(probabilities.get(name, np.zeros((0, len(speakers)))) > threshold, median), frame_ms, axis=0)
        length = max([len(system), *(_ms(turns.max()) for turns in speakers.values())])
        reference = np.zeros((length, len(speakers)), bool)
        for column, turns in enumerate(speakers.values()):
            for start, end in turns:
                reference[_ms(start) : _ms(end), column] = True
        wrong += _wrong(reference, np.pad(system, ((0, length - len(system)), (0, 0))))
        spoken += int(reference.sum())
    return wrong / spoken


def _filtered(said: np.ndarray, median: int) -> np.ndarray:
    """What most of the frames around each one say."""
    around = np.pad(said, ((median // 2, median // 2), (0, 0)))
    return sliding_window_view(around, median, axis=0).sum(axis=-1) > median // 2 if len(said) else said


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _wrong(reference: np.ndarray, system: np.ndarray) -> int:
    """Milliseconds of speech missed, made up or given to another speaker, under the order of the speakers that has the fewest."""
    width = max(reference.shape[1], system.shape[1])
    reference, system = (np.pad(own, ((0, 0), (0, width - own.shape[1]))) for own in (reference, system))
    right = max((reference & system[:, order]).sum() for order in map(list, permutations(range(width))))
    return int(np.maximum(reference.sum(axis=1), system.sum(axis=1)).sum() - right)
