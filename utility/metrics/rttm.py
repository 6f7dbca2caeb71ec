"""Speaker turns in files, and turns out of a model's probabilities (spec: downstream-speaker.md 5.1 and 5.5).

*.rttm  lines "SPEAKER recording channel start duration <NA> <NA> speaker <NA> [<NA>]", seconds; lines of other types are left out
*.uem   lines "recording channel start end": what is to be scored
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from utility.errors import DataError
from utility.text.files import lines_of

Turns = dict[str, dict[str, np.ndarray]]
_RTTM_FIELDS, _UEM_FIELDS = 8, 4


def read_rttm(path: str | Path, empty: bool = False) -> Turns:
    """The turns of every recording of a file, by speaker: arrays (n, 2) of start and end in seconds.

    Args:
        path: the file.
        empty: a file without any turn is fine, as a system's answer may be.

    Raises:
        DataError: the file is missing, has a line that is none, or has no turn.
    """
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for number, fields in _lines(path, "RTTM"):
        if fields[0] == "SPEAKER":
            if len(fields) < _RTTM_FIELDS:
                raise DataError(f"line {number} of {path} has {len(fields)} fields, not the 9 or 10 of RTTM")
            start, duration = _seconds(fields[3:5], number, path)
            if start < 0 or duration < 0:
                raise DataError(f"line {number} of {path} has a start or duration below 0")
            found.setdefault(fields[1], {}).setdefault(fields[7], []).append((start, start + duration))
    if not found and not empty:
        raise DataError(f"{path} holds no speaker turn (no line that begins with SPEAKER)")
    return {name: {who: np.array(turns) for who, turns in speakers.items()} for name, speakers in found.items()}


def read_uem(path: str | Path) -> dict[str, np.ndarray]:
    """The regions (n, 2), in seconds, of each recording that is to be scored.

    Raises:
        DataError: the file is missing, has a line that is none, or names no recording.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    for number, fields in _lines(path, "UEM"):
        if len(fields) < _UEM_FIELDS:
            raise DataError(f"line {number} of {path} has {len(fields)} fields, not the 4 of UEM")
        start, end = _seconds(fields[2:4], number, path)
        if not 0 <= start < end:
            raise DataError(f"line {number} of {path} has a region that does not end after its start")
        found.setdefault(fields[0], []).append((start, end))
    if not found:
        raise DataError(f"{path} names no recording")
    return {name: np.array(regions) for name, regions in found.items()}


def _lines(path: str | Path, kind: str) -> Iterator[tuple[int, list[str]]]:
    """Numbers and fields of all lines but comments (which begin with a semicolon) and blank ones."""
    if not Path(path).is_file():
        raise DataError(f"there is no {kind} file {path}")
    for number, line in enumerate(lines_of(path, f"{kind} file"), 1):
        fields = line.split()
        if fields and not fields[0].startswith(";"):
            yield number, fields


def _seconds(fields: list[str], number: int, path: str | Path) -> tuple[float, float]:
    try:
        first, second = map(float, fields)
    except ValueError:
        raise DataError(f"line {number} of {path} has {' '.join(fields)!r} where two numbers of seconds belong") from None
    if not (math.isfinite(first) and math.isfinite(second)):
        raise DataError(f"line {number} of {path} has a number of seconds that is not finite")
    return first, second


def active(probabilities: np.ndarray, threshold: float = 0.5, median: int = 1) -> np.ndarray:
    """Who speaks in which frame.

    Args:
        probabilities: (T, speakers).
        threshold: what a probability must exceed.
        median: window, in frames, of a median filter over time; silence lies beyond both ends. Odd; 1 filters nothing.

    Returns:
        (T, speakers) bool.
    """
    return smoothed((probabilities > threshold).astype(np.uint8), median).astype(bool)


def smoothed(values: np.ndarray, median: int) -> np.ndarray:
    """Median filter over the first axis of (T, speakers), with zeros beyond both ends; ``median`` is odd."""
    if median <= 1:
        return values
    from scipy.ndimage import median_filter

    return median_filter(values, size=(median, 1), mode="constant", cval=0)


def runs(speaking: np.ndarray) -> list[np.ndarray]:
    """For each column of (T, speakers) bool its stretches of True: (n, 2) first frame and the one after the last."""
    silence = np.zeros((1, speaking.shape[1]), np.int8)
    change = np.diff(np.concatenate([silence, speaking.astype(np.int8), silence]), axis=0)
    return [np.stack([np.flatnonzero(column == 1), np.flatnonzero(column == -1)], axis=1) for column in change.T]


def turns_of(recording: str, speaking: np.ndarray, seconds_per_frame: float) -> dict[str, np.ndarray]:
    """The turns of each speaker, named ``<recording>_<column>``, at the hundredths of a second that an RTTM file has.

    Start and duration are rounded, each on its own, as S3PRL writes them.
    """
    found = {}
    for column, stretches in enumerate(runs(speaking)):
        if len(stretches):
            starts, frames = stretches[:, 0], stretches[:, 1] - stretches[:, 0]
            numbers = [
                (float(f"{s * seconds_per_frame:.2f}"), float(f"{n * seconds_per_frame:.2f}")) for s, n in zip(starts, frames, strict=True)
            ]
            found[f"{recording}_{column}"] = np.array([(start, start + duration) for start, duration in numbers])
    return found


def rttm_lines(recording: str, speakers: Mapping[str, np.ndarray]) -> Iterable[str]:
    """The lines of a recording, as S3PRL writes them: nine fields, hundredths of a second."""
    for name, turns in speakers.items():
        for start, end in turns:
            yield f"SPEAKER {recording} 1 {start:7.2f} {end - start:7.2f} <NA> <NA> {name} <NA>\n"
