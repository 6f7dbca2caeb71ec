"""Log-likelihood ratio, weighted spectral slope and segmental SNR as composite.m computes them (Hu and Loizou 2008)."""

from __future__ import annotations

import numpy as np

from utility.metrics.enhancement.frames import mean_of_best, windowed

_EPS = np.finfo(np.float64).eps
_LEAST_DB, _MOST_DB = -10.0, 35.0  # of a frame's SNR
_CENTRES = (50, 120, 190, 260, 330, 400, 470, 540, 617.372, 703.378, 798.717, 904.128, 1020.38, 1148.30, 1288.72, 1442.54, 1610.70,
            1794.16, 1993.93, 2211.08, 2446.71, 2701.97, 2978.04, 3276.17, 3597.63)  # fmt: skip
_WIDTHS = (70, 70, 70, 70, 70, 70, 70, 77.3724, 86.0056, 95.3398, 105.411, 116.256, 127.914, 140.423, 153.823, 168.154, 183.457,
           199.776, 217.153, 235.631, 255.255, 276.072, 298.126, 321.465, 346.136)  # fmt: skip
_LEAST_FILTER = np.exp(-30 / (2 * 2.303))  # -30 dB
_GLOBAL, _LOCAL = 20.0, 1.0  # Kmax and Klocmax of Klatt's weights


def segmental_snr(reference: np.ndarray, estimate: np.ndarray, rate: int) -> float:
    """Mean over frames of the SNR in dB, each limited to -10 to 35 dB."""
    clean, noise = windowed(reference + _EPS, rate), windowed(reference - estimate, rate)
    ratios = np.square(clean).sum(-1) / (np.square(noise).sum(-1) + _EPS)
    return float(np.clip(10 * np.log10(ratios + _EPS), _LEAST_DB, _MOST_DB).mean())


def log_likelihood_ratio(reference: np.ndarray, estimate: np.ndarray, rate: int) -> float:
    """Mean over the best 95 % of frames of ln(a_d R_c a_d' / a_c R_c a_c'), a being linear predictors and R_c the clean autocorrelation."""
    order = 16 if rate >= 10000 else 10
    clean = _autocorrelation(windowed(reference + _EPS, rate), order)
    processed = _autocorrelation(windowed(estimate + _EPS, rate), order)
    lags = np.abs(np.arange(order + 1)[:, None] - np.arange(order + 1))
    matrices = clean[:, lags]  # (T, order + 1, order + 1)

    def residual(predictors: np.ndarray) -> np.ndarray:
        return np.einsum("ti,tij,tj->t", predictors, matrices, predictors)

    energies = residual(_predictors(processed)), residual(_predictors(clean))
    ratios = np.maximum(energies[0], _EPS**2) / np.maximum(energies[1], _EPS**2)
    return mean_of_best(np.log(ratios))


def _autocorrelation(frames: np.ndarray, order: int) -> np.ndarray:
    """(T, W) -> (T, order + 1)."""
    return np.stack([(frames[:, : frames.shape[1] - lag] * frames[:, lag:]).sum(-1) for lag in range(order + 1)], axis=-1)


def _predictors(autocorrelation: np.ndarray) -> np.ndarray:
    """(T, P + 1) -> (T, P + 1) prediction error filters [1, -a_1, ..., -a_P] by the recursion of Levinson and Durbin."""
    filters = np.zeros_like(autocorrelation)
    filters[:, 0] = 1
    error = np.maximum(autocorrelation[:, 0], _EPS**2)
    for step in range(1, autocorrelation.shape[1]):
        reflection = -np.einsum("ti,ti->t", filters[:, :step], autocorrelation[:, step:0:-1]) / error
        filters[:, 1 : step + 1] += reflection[:, None] * filters[:, step - 1 :: -1][:, :step]
        error = np.maximum(error * (1 - np.square(reflection)), _EPS**2)
    return filters


def weighted_spectral_slope(reference: np.ndarray, estimate: np.ndarray, rate: int) -> float:
    """Mean over the best 95 % of frames of the weighted squared difference of slopes between 25 critical bands (Klatt 1982)."""
    clean, processed = _band_energies(windowed(reference + _EPS, rate), rate), _band_energies(windowed(estimate + _EPS, rate), rate)
    weights = (_weights(clean) + _weights(processed)) / 2
    differences = np.square(np.diff(clean) - np.diff(processed))
    return mean_of_best((weights * differences).sum(-1) / weights.sum(-1))


def _band_energies(frames: np.ndarray, rate: int) -> np.ndarray:
    """(T, W) -> (T, 25) dB."""
    size = 1 << int(np.ceil(np.log2(2 * frames.shape[1])))
    power = np.square(np.abs(np.fft.rfft(frames, size)))[:, : size // 2]
    return 10 * np.log10(np.maximum(power @ _filters(size // 2, rate).T, 1e-10))


def _filters(bins: int, rate: int) -> np.ndarray:
    """(25, bins) Gaussian filters."""
    bins_per_hertz = bins / (rate / 2)
    centres, widths = np.array(_CENTRES) * bins_per_hertz, np.array(_WIDTHS) * bins_per_hertz
    offsets = (np.arange(bins) - np.floor(centres)[:, None]) / widths[:, None]
    filters = np.exp(-11 * np.square(offsets) + np.log(widths[0] / widths)[:, None])
    return np.where(filters > _LEAST_FILTER, filters, 0)


def _weights(energies: np.ndarray) -> np.ndarray:
    """(T, 25) -> (T, 24) weights of the slopes: the nearer a band is to the loudest one and to the peak beside it, the more it counts."""
    bands = energies[:, :-1]
    to_loudest = _GLOBAL / (_GLOBAL + energies.max(-1, keepdims=True) - bands)
    return to_loudest * (_LOCAL / (_LOCAL + _peaks(energies) - bands))


def _peaks(energies: np.ndarray) -> np.ndarray:
    """(T, 25) -> (T, 24): uphill of a band, the peak; to the right, composite.m stops one band before it, and so does this."""
    slopes, last = np.diff(energies), energies.shape[1] - 2
    rising = slopes > 0
    right, left = np.empty(slopes.shape, int), np.empty(slopes.shape, int)
    for band in range(last, -1, -1):  # the last band of the rise that this one is in
        further = right[:, band + 1] if band < last else band
        right[:, band] = np.where(rising[:, band + 1] if band < last else False, further, band)
    for band in range(last + 1):  # the first band of the fall that this one is in
        further = left[:, band - 1] if band else band
        left[:, band] = np.where(~rising[:, band - 1] if band else False, further, band)
    return np.take_along_axis(energies, np.where(rising, right, left), axis=-1)
