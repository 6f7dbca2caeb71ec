"""Which samples of a long file a part of its resampling depends on.

A resampler that begins later gives the same samples, to rounding, if it begins where a sample of the file falls on one of the result, and
as far as its filter does not reach beyond what it was given.
"""

from __future__ import annotations

import math
from typing import NamedTuple

# Half of soxr's HQ filter in samples of the lower rate: 112 were enough for all of 25 pairs of rates from 8 to 384 kHz, 96 were not.
_MARGIN = 192
# The clock of soxr is exact where no side of the ratio has more steps; beyond it may drift (44101 -> 16000 Hz: 7e-4 in an hour of noise).
_MOST_STEPS = 1024


class Window(NamedTuple):
    """Samples of a file, and where the wanted ones are in their resampling.

    Args:
        first: of the file's samples, on one of the output.
        count: how many of them.
        silence: zeros behind them: what follows the end of a file.
        skip: resampled samples before the part.
        length: of the part, in resampled samples.
    """

    first: int
    count: int
    silence: int
    skip: int
    length: int


def resampled_length(count: int, source_rate: int, target_rate: int) -> int:
    """How many samples soxr makes of ``count``: to the nearest, halves as its floating point has them."""
    return int(count / (source_rate / target_rate) + 0.5)


def window_of(count: int, source_rate: int, target_rate: int, start: int, frames: int | None) -> Window | None:
    """What to read for samples ``start`` to ``start + frames`` of the resampling of a file.

    Args:
        count: samples of the file.
        source_rate, target_rate: in Hz.
        start, frames: the part, at the target rate; None is to the end.

    Returns:
        None where the whole file is needed, or more than half of it.
    """
    total = resampled_length(count, source_rate, target_rate)
    stop = total if frames is None else min(total, start + frames)
    if start >= stop:
        return Window(0, 0, 0, 0, 0)
    divisor = math.gcd(source_rate, target_rate)
    step, steps = source_rate // divisor, target_rate // divisor  # so many of the file's samples last as long as so many of the result
    margin = -(-_MARGIN * max(step, steps) // steps)
    first = max(0, start * step // steps - margin) // step * step
    end = min(count, -(-stop * step // steps) + margin)
    if max(step, steps) > _MOST_STEPS or 2 * (end - first) > count:
        return None
    silence = -(-step // steps) if end == count else 0
    return Window(first, end - first, silence, start - first // step * steps, stop - start)
