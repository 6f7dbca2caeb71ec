"""Composite measures against their formulas written out frame by frame, and where they are plain to see."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.linalg import solve_toeplitz

from utility.metrics.enhancement import score_pair
from utility.metrics.enhancement.spectral import log_likelihood_ratio, segmental_snr, weighted_spectral_slope

EPS = np.finfo(float).eps


@pytest.fixture(scope="module")
def waves() -> tuple[np.ndarray, np.ndarray]:
    """A second of coloured noise with a slow envelope, clean and with white noise."""
    rng = np.random.default_rng(0)
    clean = np.convolve(rng.normal(size=16000), 0.9 ** np.arange(60), "same") * (1.1 + np.sin(np.arange(16000) / 900)) * 0.05
    return clean.astype(np.float32), (clean + 0.03 * rng.normal(size=16000)).astype(np.float32)


def frames_of(wave: np.ndarray, rate: int) -> list[np.ndarray]:
    width = round(0.03 * rate)
    hop, n = width // 4, np.arange(1, width + 1)
    window = 0.5 * (1 - np.cos(2 * np.pi * n / (width + 1)))
    return [window * (wave[k * hop : k * hop + width].astype(float)) for k in range(math.floor(len(wave) / hop - width / hop))]


def best(values: list[float]) -> float:
    return float(np.mean(sorted(values)[: round(0.95 * len(values))]))


@pytest.mark.parametrize("rate", [16000, 8000])
def test_log_likelihood_ratio(waves, rate: int):
    """Predictors from the normal equations instead of a recursion."""
    order, values = 16 if rate == 16000 else 10, []

    def autocorrelation(frame: np.ndarray) -> np.ndarray:
        return np.correlate(frame, frame, "full")[len(frame) - 1 :][: order + 1]

    for clean, processed in zip(*(frames_of(wave + EPS, rate) for wave in waves), strict=True):
        own, other = autocorrelation(clean), autocorrelation(processed)
        a, b = (np.concatenate([[1], -solve_toeplitz(r[:-1], r[1:])]) for r in (own, other))
        matrix = own[np.abs(np.subtract.outer(np.arange(order + 1), np.arange(order + 1)))]
        values.append(math.log((b @ matrix @ b) / (a @ matrix @ a)))
    assert log_likelihood_ratio(*waves, rate) == pytest.approx(best(values), rel=1e-6)


def test_segmental_snr(waves):
    values = []
    for clean, noise in zip(frames_of(waves[0] + EPS, 16000), frames_of(waves[0] - waves[1], 16000), strict=True):
        values.append(min(35, max(-10, 10 * math.log10((clean @ clean) / (noise @ noise + EPS) + EPS))))
    assert segmental_snr(*waves, 16000) == pytest.approx(np.mean(values), rel=1e-6)


def test_weighted_spectral_slope(waves):
    """Peaks are searched band by band, as in composite.m."""
    values = []
    for pair in zip(*(frames_of(wave + EPS, 16000) for wave in waves), strict=True):
        weights, slopes = [], []
        for frame in pair:
            energies = band_energies(frame)
            slope = [energies[k + 1] - energies[k] for k in range(24)]
            weights.append([weight(k, slope, energies) for k in range(24)])
            slopes.append(slope)
        mean = np.mean(weights, axis=0)
        values.append(float(mean @ np.square(np.subtract(*slopes)) / mean.sum()))
    assert weighted_spectral_slope(*waves, 16000) == pytest.approx(best(values), rel=1e-6)


def band_energies(frame: np.ndarray) -> list[float]:
    from utility.metrics.enhancement.spectral import _CENTRES, _WIDTHS

    power, energies = np.abs(np.fft.fft(frame, 1024))[:512] ** 2, []
    for centre, width in zip(_CENTRES, _WIDTHS, strict=True):
        offsets = (np.arange(512) - math.floor(centre / 8000 * 512)) / (width / 8000 * 512)
        shape = np.exp(-11 * offsets**2 + math.log(70 / width))
        shape[shape < math.exp(-30 / (2 * 2.303))] = 0
        energies.append(10 * math.log10(max(float(shape @ power), 1e-10)))
    return energies


def weight(band: int, slope: list[float], energies: list[float]) -> float:
    n = band + 1  # counted from 1, as there
    if slope[band] > 0:
        while n < 25 and slope[n - 1] > 0:
            n += 1
        peak = energies[n - 2]
    else:
        while n > 0 and slope[n - 1] <= 0:
            n -= 1
        peak = energies[n]
    return 20 / (20 + max(energies) - energies[band]) * (1 / (1 + peak - energies[band]))


def test_a_perfect_estimate_has_the_best_marks(waves):
    pytest.importorskip("pesq")
    found = score_pair(waves[0], waves[0], 16000, ["llr", "wss", "segsnr", "csig", "cbak", "covl", "pesq"])
    assert found["llr"] == pytest.approx(0, abs=1e-9)
    assert (found["wss"], found["segsnr"]) == (0, 35)
    assert (found["csig"], found["cbak"], found["covl"]) == (5, 5, 5)


def test_marks_are_the_regression(waves):
    pytest.importorskip("pesq")
    found = score_pair(*waves, 16000, ["llr", "wss", "segsnr", "csig", "cbak", "covl", "pesq"])
    pesq, llr, wss, snr = (found[name] for name in ("pesq", "llr", "wss", "segsnr"))
    assert found["csig"] == pytest.approx(min(5, max(1, 3.093 - 1.029 * llr + 0.603 * pesq - 0.009 * wss)))
    assert found["cbak"] == pytest.approx(min(5, max(1, 1.634 + 0.478 * pesq - 0.007 * wss + 0.063 * snr)))
    assert found["covl"] == pytest.approx(min(5, max(1, 1.594 + 0.805 * pesq - 0.512 * llr - 0.007 * wss)))


def test_too_short_for_a_frame():
    found = score_pair(np.ones(300, np.float32), np.ones(300, np.float32), 16000, ["llr", "wss", "segsnr"])
    assert all(math.isnan(value) for value in found.values())
