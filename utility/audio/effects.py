"""The SoX effects that S3PRL's tasks apply to their recordings, without SoX.

libsox 14.4.2 works on 32-bit integers, and so does this module: a gain rounds to integers, the silence detector sees them, and the
result is rounded to the 25 bits that libsox hands out as float32. Supported (specs: downstream-content.md 4, downstream-speaker.md 4.1):

=========================================================  ======================================================================
``channels 1``                                             mean over channels
``rate HZ``                                                resampling (soxr, high quality; SoX's own filter differs near the band edge)
``gain DB``                                                constant gain, clipped
``norm [DB]``                                              gain that brings the peak to DB dB of full scale (0 by default)
``silence 1 DUR THRESHOLD [1|-1 DUR THRESHOLD]``           drops what lies before the first sound; with 1 also everything from the
                                                           first silence on, with -1 every silence (and what follows it up to the
                                                           next sound)
=========================================================  ======================================================================
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from utility.audio.io import resample
from utility.errors import ConfigError, UnknownNameError

_MAX, _MIN = 2**31 - 1, -(2**31)


def apply_effects(wav: np.ndarray, sample_rate: int, effects: Sequence[Sequence[str | float]]) -> tuple[np.ndarray, int]:
    """Applies a chain of SoX effects.

    Args:
        wav: (n,) or (n, channels) in [-1, 1]; what lies outside is clipped.
        sample_rate: rate of ``wav`` in Hz.
        effects: name and arguments of each effect as on SoX's command line, such as ``[["channels", "1"], ["gain", "-3.0"]]``.

    Returns:
        float32 waveform, (m,) if it has one channel, else (m, channels); and its rate in Hz.

    Raises:
        UnknownNameError: an effect that is not supported.
        ConfigError: arguments that are not supported.
    """
    samples = _from_float(wav if wav.ndim == 2 else wav[:, None])
    for name, *arguments in effects:
        if name not in _EFFECTS:
            raise UnknownNameError("sound effect", str(name), _EFFECTS)
        samples, sample_rate = _EFFECTS[name](samples, sample_rate, [str(argument) for argument in arguments])
    return _to_float(samples[:, 0] if samples.shape[1] == 1 else samples), sample_rate


def _from_float(wav: np.ndarray) -> np.ndarray:
    """Full scale 1.0 to 32-bit integers (kept in int64, so that nothing overflows on the way)."""
    return _rounded(wav.astype(np.float64) * 2.0**31)


def _to_float(samples: np.ndarray) -> np.ndarray:
    """libsox's float32: rounded half up to multiples of 128, which takes the highest 64 values to 1.0."""
    return ((samples + 64) & ~127).astype(np.float32) / np.float32(2**31)


def _rounded(samples: np.ndarray) -> np.ndarray:
    """Float64 to the nearest integer (halves away from zero), clipped to 32 bits."""
    samples = np.copysign(0.5, samples) + samples
    return np.clip(samples, _MIN, _MAX, out=samples).astype(np.int64)


def _refuse(name: str, arguments: Sequence[str], usage: str) -> ConfigError:
    return ConfigError(f"cannot apply '{' '.join([name, *arguments])}'; supported is '{usage}'", source="sound effects")


def _channels(samples: np.ndarray, rate: int, arguments: list[str]) -> tuple[np.ndarray, int]:
    if arguments == [str(samples.shape[1])]:
        return samples, rate
    if arguments != ["1"]:
        raise _refuse("channels", arguments, "channels 1")
    return _rounded(samples.mean(axis=1, keepdims=True)), rate


def _rate(samples: np.ndarray, rate: int, arguments: list[str]) -> tuple[np.ndarray, int]:
    if len(arguments) != 1 or not arguments[0].isdigit() or int(arguments[0]) == 0:
        raise _refuse("rate", arguments, "rate HZ")
    target = int(arguments[0])
    return (samples, rate) if target == rate else (_rounded(resample(samples.astype(np.float64), rate, target)), target)


def _gain(samples: np.ndarray, rate: int, arguments: list[str]) -> tuple[np.ndarray, int]:
    if len(arguments) != 1:
        raise _refuse("gain", arguments, "gain DB")
    return _rounded(samples * 10 ** (_number("gain", arguments, 0, "gain DB") / 20)), rate


def _norm(samples: np.ndarray, rate: int, arguments: list[str]) -> tuple[np.ndarray, int]:
    if len(arguments) > 1:
        raise _refuse("norm", arguments, "norm [DB]")
    level = 10 ** (_number("norm", arguments, 0, "norm [DB]") / 20) if arguments else 1.0
    high, low = (samples.max(), samples.min()) if samples.size else (0, 0)
    room = min(_MAX / high if high > 0 else np.inf, _MIN / low if low < 0 else np.inf)
    return (_rounded(samples * (room * level)) if np.isfinite(room) else samples), rate


def _number(name: str, arguments: list[str], position: int, usage: str) -> float:
    try:
        return float(arguments[position])
    except ValueError:
        raise _refuse(name, arguments, usage) from None


@dataclass(frozen=True)
class _Period:
    """One half of the silence effect's arguments.

    Args:
        duration: how many samples in a row must be above (start) or below (stop) the threshold.
        threshold: the smallest RMS, in integer units, that counts as sound.
    """

    duration: int
    threshold: int


_SILENCE_USAGE = "silence 1 SECONDS THRESHOLD% [1|-1 SECONDS THRESHOLD%]"


def _silence(samples: np.ndarray, rate: int, arguments: list[str]) -> tuple[np.ndarray, int]:
    if len(arguments) not in (3, 6) or arguments[0] != "1" or arguments[3:4] not in ([], ["1"], ["-1"]):
        raise _refuse("silence", arguments, _SILENCE_USAGE)
    if samples.shape[1] != 1:
        raise ConfigError("silence works on one channel; put 'channels 1' before it", source="sound effects")
    start = _parse_period(arguments, 1, rate)
    stop = _parse_period(arguments, 4, rate) if len(arguments) == 6 else None
    kept = _sounding_parts(samples[:, 0], rate // 50, start, stop, restart=arguments[3:4] == ["-1"])
    parts = [samples[begin:end] for begin, end in kept]
    return (np.concatenate(parts) if parts else samples[:0]), rate


def _parse_period(arguments: list[str], position: int, rate: int) -> _Period:
    """Duration and threshold from ``position`` on.

    A whole number without unit is refused as duration: SoX takes it for samples, most people for seconds.
    """
    duration, threshold = arguments[position : position + 2]
    try:
        if duration.endswith("s"):
            length = int(duration[:-1])
        elif "." in duration:
            length = int(float(duration) * rate + 0.5)
        else:
            raise ValueError(duration)
        if threshold.endswith("%"):
            ratio = float(threshold[:-1]) / 100
        elif threshold.endswith("d"):
            ratio = 10 ** (float(threshold[:-1]) / 20)
        else:
            raise ValueError(threshold)
    except ValueError:
        raise _refuse("silence", arguments, f"{_SILENCE_USAGE}, a duration being like 0.1 (seconds) or 1600s (samples)") from None
    if length < 1 or not 0 <= ratio <= 1:
        raise _refuse("silence", arguments, f"{_SILENCE_USAGE} with a duration above 0 and a threshold from 0% to 100%")
    return _Period(length, int(np.ceil(ratio * _MAX)))


def _sounding_parts(samples: np.ndarray, window: int, start: _Period, stop: _Period | None, restart: bool) -> list[tuple[int, int]]:
    """The parts that the silence effect keeps, as (begin, end).

    The effect alternates between two states. Trimming, it waits for ``start.duration`` samples in a row that are above the threshold and
    keeps from the first of them on. Copying, it waits for ``stop.duration`` samples in a row below; those are dropped, the RMS window is
    emptied and trimming begins anew. Silence that the end of the file cuts short is kept, sound that it cuts short is dropped.
    """
    parts, origin = [], 0
    above = _loud(samples, window, start.threshold)
    loud_enough = above if stop is None or stop.threshold == start.threshold else _loud(samples, window, stop.threshold)
    while (begin := _first_run(lambda lo, hi: above(origin, lo, hi), origin, len(samples), start.duration)) is not None:  # noqa: B023
        copied = begin + start.duration
        end = None
        if stop is not None:
            end = _first_run(lambda lo, hi: ~loud_enough(origin, lo, hi), copied, len(samples), stop.duration)  # noqa: B023
        parts.append((begin, len(samples) if end is None else end))
        if end is None or not restart:
            break
        origin = end + stop.duration
    return parts


def _loud(samples: np.ndarray, window: int, threshold: int) -> Callable[[int, int, int], np.ndarray]:
    """A function (origin, lo, hi) -> (hi - lo,) bool: is the RMS of the ``window`` samples up to each of lo..hi-1 at the threshold?

    Samples before ``origin`` count as 0. Sums are exact: squares are cut above the value that alone lifts a window over the threshold, and
    differences of a cumulative sum stay right when the sum itself wraps around. Thresholds above 0.4 % (at 16 kHz) drop the low bits
    that would make a single window overflow; that is finer than the integer RMS of libsox.
    """
    shift = max(0, (window * threshold).bit_length() - 31)
    enough = window * (threshold >> shift) ** 2
    squares = np.minimum(np.abs(samples) >> shift, math.isqrt(enough) + 1)
    squares *= squares
    energy = np.zeros(len(samples) + 1, np.int64)
    np.cumsum(squares, out=energy[1:])

    def above(origin: int, lo: int, hi: int) -> np.ndarray:
        first, last = lo + 1 - window, hi + 1 - window
        before = energy[first:last] if first >= origin else energy[np.maximum(np.arange(first, last), origin)]
        return energy[lo + 1 : hi + 1] - before >= enough

    return above


def _first_run(flags: Callable[[int, int], np.ndarray], begin: int, end: int, length: int) -> int | None:
    """The first position from ``begin`` on where ``length`` flags in a row are set; looks ahead in growing steps."""
    reach = begin
    while reach < end:
        reach = min(end, begin + max(4 * length, 2 * (reach - begin)))
        edges = np.flatnonzero(np.diff(flags(begin, reach), prepend=False, append=False))
        starts, ends = edges[::2], edges[1::2]
        long = np.flatnonzero(ends - starts >= length)
        if len(long):
            return begin + int(starts[long[0]])
    return None


_EFFECTS: dict[str, Callable[[np.ndarray, int, list[str]], tuple[np.ndarray, int]]] = {
    "channels": _channels,
    "rate": _rate,
    "gain": _gain,
    "norm": _norm,
    "silence": _silence,
}
