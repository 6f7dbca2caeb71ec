"""Scores of spoken term detection: term-weighted value and normalised cross entropy (spec: downstream-content.md 5).

A trial is a query and a document; it is a target if the document holds the query. With the costs of MediaEval's QUESST a false alarm weighs
``BETA`` times as much as a miss, and a target has the effective probability ``PRIOR``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from utility.errors import DataError

MISS_COST, FALSE_ALARM_COST, TARGET_PRIOR = 100.0, 1.0, 0.0008
BETA = FALSE_ALARM_COST * (1 - TARGET_PRIOR) / (MISS_COST * TARGET_PRIOR)  # 12.49
PRIOR = MISS_COST * TARGET_PRIOR / (MISS_COST * TARGET_PRIOR + FALSE_ALARM_COST * (1 - TARGET_PRIOR))  # 0.0741289
DEFAULT_SCORE = -10.0  # of a trial that a system left out
_STEPS, _TOLERANCE, _HALVINGS = 100, 1e-12, 60


@dataclass(frozen=True)
class Detection:
    """A system's answer to one trial.

    Args:
        score: the higher, the likelier is the query in the document; a log likelihood ratio for cross entropies.
        decision: whether the system says yes.
    """

    score: float
    decision: bool


@dataclass(frozen=True)
class Trials:
    """All trials of an evaluation, queries in rows and documents in columns.

    Args:
        scores: (Q, N) float64.
        decisions: (Q, N) bool, the system's yes.
        targets: (Q, N) bool, the truth; each row has at least one target.
    """

    scores: np.ndarray
    decisions: np.ndarray
    targets: np.ndarray


@dataclass(frozen=True)
class DetectionScores:
    """What the official scorer prints.

    Args:
        act_twv: term-weighted value of the system's decisions; 1 is perfect, 0 is what saying no to everything has.
        max_twv: the highest value that one threshold for all queries gives (MTWV).
        threshold: the lowest accepted score at that value; infinite if saying no to everything is best.
        act_cnxe: normalised cross entropy of the scores; 0 is perfect, 1 says nothing.
        min_cnxe: the lowest one that an affine map of the scores gives.
    """

    act_twv: float
    max_twv: float
    threshold: float
    act_cnxe: float
    min_cnxe: float

    def lines(self) -> list[str]:
        """The lines that the official scorer prints."""
        return [
            f"actTWV: {self.act_twv:.8f}  maxTWV: {self.max_twv:.8f}  Threshold: {self.threshold:.8g}",
            f"actCnxe: {self.act_cnxe:.8f}  minCnxe: {self.min_cnxe:.8f}",
        ]


def score_trials(trials: Trials, beta: float = BETA, prior: float = PRIOR) -> DetectionScores:
    """All scores.

    Args:
        trials: what the system answered, and the truth.
        beta: weight of a false alarm.
        prior: effective probability of a target.

    Raises:
        DataError: every trial is a target, so that there are no false alarms to count in the cross entropy.
    """
    return DetectionScores(
        actual_twv(trials, beta), *maximum_twv(trials, beta), normalised_cross_entropy(trials, prior), minimum_cross_entropy(trials, prior)
    )


def collect(
    detections: Mapping[tuple[str, str], Detection],
    targets: Iterable[tuple[str, str]],
    queries: Iterable[str],
    documents: Iterable[str],
    default_score: float = DEFAULT_SCORE,
) -> Trials:
    """Lays detections and truth out as trials; queries that occur nowhere are left out, as the official scorer does.

    Args:
        detections: answers by (query, document); missing ones get ``default_score`` and the decision no. Those of other queries or
            documents are ignored.
        targets: the (query, document) pairs where the query occurs.
        queries: all queries of the evaluation.
        documents: all documents of the evaluation.
        default_score: score of a missing trial.

    Raises:
        DataError: no query occurs in any document.
    """
    column = {name: index for index, name in enumerate(dict.fromkeys(documents))}
    asked = set(queries)
    true = [(query, document) for query, document in targets if query in asked and document in column]
    row = {name: index for index, name in enumerate(sorted({query for query, _ in true}))}
    if not row:
        raise DataError("no query of the evaluation occurs in any of its documents, so that there is nothing to score")
    shape = (len(row), len(column))
    trials = Trials(np.full(shape, float(default_score)), np.zeros(shape, bool), np.zeros(shape, bool))
    for query, document in true:
        trials.targets[row[query], column[document]] = True
    for (query, document), detection in detections.items():
        if query in row and document in column:
            place = row[query], column[document]
            trials.scores[place], trials.decisions[place] = detection.score, detection.decision
    return trials


def actual_twv(trials: Trials, beta: float = BETA) -> float:
    """1 - mean over queries of [P_miss + beta P_fa] of the system's decisions."""
    return float((_gains(trials, beta) * trials.decisions).sum())


def maximum_twv(trials: Trials, beta: float = BETA) -> tuple[float, float]:
    """The highest value over one threshold for all queries (trials with score >= threshold are accepted), and that threshold.

    Equal scores are accepted together. Saying no to everything, with the value 0 at an infinite threshold, is among the candidates.
    """
    order = np.argsort(-trials.scores, axis=None, kind="stable")
    scores = trials.scores.ravel()[order]
    values = np.cumsum(_gains(trials, beta).ravel()[order])
    last_of_equals = np.append(scores[1:] != scores[:-1], True)
    values, scores = values[last_of_equals], scores[last_of_equals]
    best = int(values.argmax())
    return (float(values[best]), float(scores[best])) if values[best] > 0 else (0.0, math.inf)


def _gains(trials: Trials, beta: float) -> np.ndarray:
    """(Q, N): what accepting each trial adds to the value. TWV = mean over queries of [hits / N_true - beta false alarms / N_false]."""
    true = trials.targets.sum(axis=1, keepdims=True)
    false = trials.targets.shape[1] - true
    return np.where(trials.targets, 1 / true, -beta / np.maximum(false, 1)) / len(trials.targets)


def normalised_cross_entropy(trials: Trials, prior: float = PRIOR) -> float:
    """Cross entropy of the scores, taken as log likelihood ratios, in units of the prior's entropy (Cnxe)."""
    return _cross_entropy(trials.scores[trials.targets], _others(trials), prior)


def minimum_cross_entropy(trials: Trials, prior: float = PRIOR) -> float:
    """The lowest :func:`normalised_cross_entropy` of ``gain * score + offset`` over all gains and offsets (minCnxe).

    That is a convex problem in two unknowns (a weighted logistic regression), solved by Newton's method with step halving. Where a
    threshold parts targets from the rest without error, the infimum 0 is approached and not reached.
    """
    targets, others = trials.scores[trials.targets], _others(trials)
    centre, scale = targets.mean(), max(float(trials.scores.std()), 1e-12)
    targets, others = (targets - centre) / scale, (others - centre) / scale
    gain, offset = 0.0, 0.0
    best = _cross_entropy(targets * gain + offset, others * gain + offset, prior)
    for _ in range(_STEPS):
        step = _newton_step(targets, others, gain, offset, prior)
        for halving in range(_HALVINGS):
            tried = gain + step[0] / 2**halving, offset + step[1] / 2**halving
            value = _cross_entropy(targets * tried[0] + tried[1], others * tried[0] + tried[1], prior)
            if value < best:
                break
        else:
            return best
        improvement, best, (gain, offset) = best - value, value, tried
        if improvement < _TOLERANCE:
            break
    return best


def _others(trials: Trials) -> np.ndarray:
    """Scores of the trials without the query."""
    others = trials.scores[~trials.targets]
    if not len(others):
        raise DataError("every query occurs in every document, so that a cross entropy has nothing to tell apart")
    return others


def _cross_entropy(targets: np.ndarray, others: np.ndarray, prior: float) -> float:
    bias = math.log(prior / (1 - prior))
    missed, alarmed = np.logaddexp(0, -(targets + bias)).mean(), np.logaddexp(0, others + bias).mean()
    of_prior = -prior * math.log(prior) - (1 - prior) * math.log(1 - prior)
    return float((prior * missed + (1 - prior) * alarmed) / of_prior)


def _newton_step(targets: np.ndarray, others: np.ndarray, gain: float, offset: float, prior: float) -> np.ndarray:
    """(2,) change of gain and offset."""
    bias = math.log(prior / (1 - prior))
    gradient, curvature = np.zeros(2), np.zeros((2, 2))
    for scores, is_target, weight in ((targets, 1.0, prior / len(targets)), (others, 0.0, (1 - prior) / len(others))):
        probability = 0.5 * (1 + np.tanh(0.5 * (gain * scores + offset + bias)))
        slope, bend = weight * (probability - is_target), weight * probability * (1 - probability)
        gradient += (slope @ scores, slope.sum())
        mixed = bend @ scores
        curvature += ((bend @ np.square(scores), mixed), (mixed, bend.sum()))
    return -np.linalg.lstsq(curvature, gradient, rcond=None)[0]
