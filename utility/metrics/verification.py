"""Detection of same-speaker trials: equal error rate and minimum detection cost (specs: downstream-speaker.md 4.5 and 14)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from sklearn.metrics import roc_curve

from utility.errors import DataError


@dataclass(frozen=True)
class Verification:
    """How well scores tell target trials from others.

    Args:
        eer: equal error rate, a fraction.
        threshold: the score at which both error rates are equal.
        min_dcf: smallest normalised detection cost.
        dcf_threshold: the score at which it is reached; infinite where rejecting all trials is best.
    """

    eer: float
    threshold: float
    min_dcf: float
    dcf_threshold: float


def verification_scores(
    labels: Sequence[int], scores: Sequence[float], p_target: float = 0.01, c_miss: float = 1.0, c_fa: float = 1.0
) -> Verification:
    """Both measures as S3PRL defines them.

    The equal error rate is the root of ``1 - x - tpr(x)``, with the true positive rate interpolated linearly between the points of the ROC
    curve. The cost ``c_miss * fnr * p_target + c_fa * fpr * (1 - p_target)`` is divided by that of the better constant answer.

    Args:
        labels: 1 for a target trial, 0 otherwise.
        scores: the higher, the likelier a target.
        p_target, c_miss, c_fa: prior of a target, and the costs of a miss and of a false alarm.

    Raises:
        DataError: there are no trials, or none of one kind, or scores that are not finite.
    """
    labels, scores = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    targets = int((labels == 1).sum())
    if not 0 < targets < len(labels):
        raise DataError(f"of {len(labels)} trials {targets} are targets; error rates need trials of both kinds")
    if not np.isfinite(scores).all():
        raise DataError(f"{(~np.isfinite(scores)).sum()} of {len(scores)} scores are not finite")
    false_alarms, hits, thresholds = roc_curve(labels, scores, pos_label=1)
    eer = float(brentq(lambda x: 1.0 - x - np.interp(x, false_alarms, hits), 0.0, 1.0))
    costs = c_miss * (1 - hits) * p_target + c_fa * false_alarms * (1 - p_target)
    best = int(np.argmin(costs))
    return Verification(
        eer=eer,
        threshold=float(np.interp(eer, false_alarms, thresholds)),
        min_dcf=float(costs[best] / min(c_miss * p_target, c_fa * (1 - p_target))),
        dcf_threshold=float(thresholds[best]),
    )
