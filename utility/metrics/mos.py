"""How well predicted opinion scores agree with those of listeners, by utterance and by system (specs/mos-prediction.md, 12)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

MEASURES = ("MSE", "LCC", "SRCC", "KTAU")
LEVELS = ("utt", "sys")
KEYS = tuple(f"{level}_{measure}" for level in LEVELS for measure in MEASURES)
HIGHER_IS_BETTER = {key: not key.endswith("MSE") for key in KEYS}


@dataclass(frozen=True)
class Agreement:
    """The four measures of one level; None where one is undefined: correlations of a single item or of constant scores, all of NaN.

    Args:
        mse: mean squared difference.
        lcc: Pearson's correlation.
        srcc: Spearman's, with average ranks of ties.
        ktau: Kendall's tau-b.
    """

    mse: float | None
    lcc: float | None
    srcc: float | None
    ktau: float | None

    def by_name(self) -> dict[str, float | None]:
        """The measures by the names of ``MEASURES``."""
        return dict(zip(MEASURES, (self.mse, self.lcc, self.srcc, self.ktau), strict=True))


def agreement(truth: Sequence[float] | np.ndarray, predicted: Sequence[float] | np.ndarray) -> Agreement:
    """Of as many scores by listeners as predictions, one or more."""
    truth, predicted = np.asarray(truth, np.float64), np.asarray(predicted, np.float64)
    if not (np.isfinite(truth).all() and np.isfinite(predicted).all()):
        return Agreement(None, None, None, None)
    mse = float(np.mean((truth - predicted) ** 2))
    if len(truth) < 2 or np.ptp(truth) == 0 or np.ptp(predicted) == 0:
        return Agreement(mse, None, None, None)
    lcc = float(np.corrcoef(truth, predicted)[0, 1])
    return Agreement(mse, lcc, float(stats.spearmanr(truth, predicted)[0]), float(stats.kendalltau(truth, predicted)[0]))


def by_system(systems: Sequence[str], *scores: Sequence[float] | np.ndarray) -> tuple[list[str], list[np.ndarray]]:
    """The mean over each system's utterances, systems in their first order."""
    places: dict[str, list[int]] = {}
    for place, system in enumerate(systems):
        places.setdefault(system, []).append(place)
    means = [np.array([np.mean(np.asarray(score, np.float64)[own]) for own in places.values()]) for score in scores]
    return list(places), means


def evaluate(systems: Sequence[str], truth: Sequence[float], predicted: Sequence[float]) -> dict[str, float | None]:
    """The eight numbers of ``KEYS``."""
    _, means = by_system(systems, truth, predicted)
    levels = {"utt": agreement(truth, predicted), "sys": agreement(*means)}
    return {f"{level}_{name}": value for level, own in levels.items() for name, value in own.by_name().items()}


def log_line(metrics: Mapping[str, float | None], kendall: bool = True) -> str:
    """The line that SHEET logs; an undefined measure is ``nan`` there."""
    number = {key: float("nan") if value is None else value for key, value in metrics.items()}
    utterance = f"[UTT][ MSE = {number['utt_MSE']:.3f} | LCC = {number['utt_LCC']:.3f} | SRCC = {number['utt_SRCC']:.3f}"
    system = f"[SYS][ MSE = {number['sys_MSE']:.3f} | LCC = {number['sys_LCC']:.4f} | SRCC = {number['sys_SRCC']:.4f}"
    if not kendall:
        return f"{utterance} ] {system} ]"
    return f"{utterance} | KTAU = {number['utt_KTAU']:.3f} ] {system}  | KTAU = {number['sys_KTAU']:.3f} ]"


def gaussian_nll(truth: Sequence[float], predicted: Sequence[float], log_variance: Sequence[float]) -> float:
    """Mean negative log likelihood (nats) of scores under normal distributions: log(2 pi v) / 2 + (y - m)^2 / 2v, v = exp(log_variance)."""
    difference, logarithm = np.subtract(truth, predicted), np.asarray(log_variance, np.float64)
    return float(np.mean(0.5 * (math.log(2 * math.pi) + logarithm + difference**2 * np.exp(-logarithm))))


def laplace_nll(truth: Sequence[float], predicted: Sequence[float], log_scale: Sequence[float]) -> float:
    """The same under Laplace distributions: log(2 b) + |y - m| / b, b = exp(log_scale)."""
    difference, logarithm = np.subtract(truth, predicted), np.asarray(log_scale, np.float64)
    return float(np.mean(math.log(2) + logarithm + np.abs(difference) * np.exp(-logarithm)))


NLL = {"Gaussian": gaussian_nll, "Laplace": laplace_nll}
"""By the distribution whose spread a predictor of uncertainties tells (specs/mos-prediction.md, 12)."""


def confidence_interval(
    systems: Sequence[str], truth: Sequence[float], predicted: Sequence[float], draws: int = 1000, level: float = 0.95, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Percentiles of the eight numbers over bootstrap samples of the utterances; draws where a number is undefined do not count."""
    generator, truth, predicted = np.random.default_rng(seed), np.asarray(truth), np.asarray(predicted)
    names, values = np.asarray(systems), {key: [] for key in KEYS}
    for _ in range(draws):
        own = generator.integers(0, len(truth), len(truth))
        for key, value in evaluate(names[own].tolist(), truth[own], predicted[own]).items():
            if value is not None:
                values[key].append(value)
    tail = 100 * (1 - level) / 2
    return {key: tuple(np.percentile(own, [tail, 100 - tail]).tolist()) for key, own in values.items() if own}
