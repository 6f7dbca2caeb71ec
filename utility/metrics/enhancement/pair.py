"""The metrics by name, and all wanted ones of one pair of waveforms."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from utility.audio.io import resample
from utility.errors import DataError, UnknownNameError
from utility.metrics.enhancement import distance, perceptual, spectral

HIGHER_IS_BETTER = {
    **dict.fromkeys(("pesq", "pesq_nb", "stoi", "estoi", "snr", "si-snr", "si-sdr", "segsnr", "csig", "cbak", "covl"), True),
    **dict.fromkeys(("mse", "llr", "wss"), False),
}
UNITS = {
    **dict.fromkeys(("pesq", "pesq_nb", "csig", "cbak", "covl"), "MOS"),
    **dict.fromkeys(("snr", "si-snr", "si-sdr", "segsnr"), "dB"),
    **dict.fromkeys(("stoi", "estoi"), "fraction"),
    **dict.fromkeys(("mse", "llr", "wss"), "distance"),
}
METRICS = tuple(HIGHER_IS_BETTER)
_MOST_RATE = 16000  # Hz; composite measures are of telephone and wide-band speech
_COMPOSITE = {  # of 1, LLR, WSS, segmental SNR and PESQ (Hu and Loizou 2008)
    "csig": (3.093, -1.029, -0.009, 0.0, 0.603),
    "cbak": (1.634, 0.0, -0.007, 0.063, 0.478),
    "covl": (1.594, -0.512, -0.007, 0.0, 0.805),
}


def score_pair(reference: np.ndarray, estimate: np.ndarray, rate: int, names: Sequence[str]) -> dict[str, float]:
    """Scores of an enhanced waveform against the clean one; the longer of both is cut to the shorter.

    ``si-snr`` leaves the means in (as the STM32 zoo does), ``si-sdr`` takes them out; ``pesq`` is wide band and what the composite measures
    use, as the tables of VoiceBank-DEMAND do (``pesq_nb`` below 16 kHz). What cannot be measured is NaN, to be counted
    (:func:`~utility.metrics.enhancement.report.summarise`): PESQ of silence, composite measures of less than a frame.

    Args:
        reference, estimate: (n,) float32 each.
        rate: in Hz.
        names: of :data:`METRICS`.

    Raises:
        UnknownNameError: a name is none of :data:`METRICS`.
        DataError: a waveform has no samples, or a rate is too low for wide-band PESQ.
        MissingDependencyError: the package pesq is needed and not installed.
    """
    require(names)
    length = min(len(reference), len(estimate))
    if not length:
        raise DataError("a waveform without samples cannot be scored")
    measured = _Measured(np.asarray(reference)[:length], np.asarray(estimate)[:length], rate)
    return {name: measured[name] for name in names}


def require(names: Sequence[str]) -> None:
    """Refuses the first name that is no metric, and a name whose package is not installed.

    Raises:
        UnknownNameError, MissingDependencyError: as :func:`score_pair`.
    """
    for name in names:
        if name not in HIGHER_IS_BETTER:
            raise UnknownNameError("metric", str(name), METRICS)
    if any(name.startswith("pesq") or name in _COMPOSITE for name in names):
        perceptual.pesq_package()


class _Measured:
    """Metrics of one pair, each computed once."""

    def __init__(self, reference: np.ndarray, estimate: np.ndarray, rate: int):
        self._pair, self._rate, self._known = (reference, estimate), rate, {}

    def __getitem__(self, name: str) -> float:
        if name not in self._known:
            self._known[name] = self._measure(name)
        return self._known[name]

    def _measure(self, name: str) -> float:
        if name in _COMPOSITE:
            return self._composite(_COMPOSITE[name])
        if name in _PLAIN:
            return _PLAIN[name](*self._pair)
        if name in _OF_RATE:
            return _OF_RATE[name](*self._pair, self._rate)
        rate = min(self._rate, _MOST_RATE)
        try:
            return _FRAMED[name](*(resample(wave, self._rate, rate) for wave in self._pair), rate)
        except DataError:  # not one frame
            return float("nan")

    def _composite(self, weights: tuple[float, ...]) -> float:
        pesq = self["pesq"] if self._rate >= _MOST_RATE else self["pesq_nb"]
        values = (1.0, self["llr"], self["wss"], self["segsnr"], pesq)
        total = sum(weight * value for weight, value in zip(weights, values, strict=True) if weight)
        return float(np.clip(total, 1, 5))


_PLAIN: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "mse": distance.mean_squared_error,
    "snr": distance.signal_to_noise,
    "si-snr": distance.scale_invariant,
    "si-sdr": lambda reference, estimate: distance.scale_invariant(reference, estimate, zero_mean=True),
}
_OF_RATE: dict[str, Callable[[np.ndarray, np.ndarray, int], float]] = {
    "pesq": perceptual.pesq,
    "pesq_nb": lambda reference, estimate, rate: perceptual.pesq(reference, estimate, rate, wide=False),
    "stoi": perceptual.stoi,
    "estoi": lambda reference, estimate, rate: perceptual.stoi(reference, estimate, rate, extended=True),
}
_FRAMED: dict[str, Callable[[np.ndarray, np.ndarray, int], float]] = {
    "segsnr": spectral.segmental_snr,
    "llr": spectral.log_likelihood_ratio,
    "wss": spectral.weighted_spectral_slope,
}
