"""What listeners hear, predicted: PESQ (ITU-T P.862 by the package pesq) and STOI (Taal 2011 by pystoi).

PESQ is P.862 without Corrigendum 2, as in nearly all papers. Rates that PESQ does not know are resampled to 16 kHz; STOI resamples
by itself.
"""

from __future__ import annotations

import warnings
from types import ModuleType

import numpy as np

from utility.audio.io import resample
from utility.errors import DataError, MissingDependencyError

NARROW_RATE, WIDE_RATE = 8000, 16000  # Hz, those of P.862.1 and P.862.2


def pesq(reference: np.ndarray, estimate: np.ndarray, rate: int, wide: bool = True) -> float:
    """MOS-LQO of P.862.2 (wide band) or P.862.1 (narrow band), 1 to 4.64 or 4.55; NaN where PESQ finds nothing to score.

    That is where the reference or the estimate is silent, or both are shorter than a quarter of a second. The STM32 zoo gives such a clip
    the score 1, or stops.

    Raises:
        DataError: wide-band PESQ of waveforms below 16 kHz.
        MissingDependencyError: the package pesq is not installed.
    """
    package = pesq_package()
    if wide and rate < WIDE_RATE:
        raise DataError(f"wide-band PESQ needs recordings of {WIDE_RATE} Hz, these have {rate} Hz; narrow-band PESQ is called pesq_nb")
    known = rate if rate in (NARROW_RATE, WIDE_RATE) else WIDE_RATE
    reference, estimate = resample(reference, rate, known), resample(estimate, rate, known)
    if not (np.any(reference) and np.any(estimate)):
        return float("nan")
    try:
        return float(package.pesq(known, reference, estimate, "wb" if wide else "nb"))
    except (package.NoUtterancesError, package.BufferTooShortError, ValueError):
        return float("nan")


def pesq_package() -> ModuleType:
    """The package pesq.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import pesq as package
    except ModuleNotFoundError as error:
        raise MissingDependencyError("pesq", "the metric PESQ") from error
    return package


def stoi(reference: np.ndarray, estimate: np.ndarray, rate: int, extended: bool = False) -> float:
    """Short-time objective intelligibility, or its extended form ESTOI; 0 of silence, 1e-5 of less than 30 frames (0.4 s) of speech.

    (Of silence, the package's ESTOI is the noise that it adds to every signal, another one each time.)
    """
    from pystoi import stoi as measure

    if not (np.any(reference) and np.any(estimate)):
        return 0.0
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(measure(reference, estimate, rate, extended=extended))
