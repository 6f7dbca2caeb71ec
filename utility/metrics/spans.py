"""How well a span of time answers a question: frame F1 and overlap (NMSQA; DUAL, arXiv 2203.04911; spec: downstream-content.md 7).

With the truth [a, b], the prediction [c, d] and their overlap o = min(b, d) - max(a, c)::

    precision = o / (d - c)      recall = o / (b - a)      FF1 = 2 precision recall / (precision + recall)
    AOS = o / (max(b, d) - min(a, c))

Without overlap, or where one of the two has no length, both are 0; two equal spans without length have FF1 1. A question with several
annotations counts by its best one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

Span = tuple[float, float]


def overlap(truth: Span, predicted: Span) -> float:
    """Seconds that two spans (start, end) share; 0 where one of them has no length."""
    if truth[1] <= truth[0] or predicted[1] <= predicted[0]:
        return 0.0
    return max(0.0, min(truth[1], predicted[1]) - max(truth[0], predicted[0]))


def frame_f1(truth: Span, predicted: Span) -> float:
    """FF1 of two spans (start, end) in seconds, 0 to 1."""
    if tuple(truth) == tuple(predicted):
        return 1.0
    shared = overlap(truth, predicted)
    # 2PR / (P + R) with P = o / (d - c) and R = o / (b - a)
    return 2 * shared / (predicted[1] - predicted[0] + truth[1] - truth[0]) if shared else 0.0


def overlap_score(truth: Span, predicted: Span) -> float:
    """AOS of two spans (start, end) in seconds, 0 to 1: intersection over union."""
    shared = overlap(truth, predicted)
    return shared / (max(truth[1], predicted[1]) - min(truth[0], predicted[0])) if shared else 0.0


def best(measure: Callable[[Span, Span], float], truths: Sequence[Span], predicted: Span) -> float:
    """The largest value over all annotations of a question.

    Args:
        measure: ``frame_f1`` or ``overlap_score``.
        truths: at least one.
        predicted: (start, end) in seconds.

    Raises:
        ValueError: there is no annotation.
    """
    if not truths:
        raise ValueError("a question without annotation cannot be scored")
    return max(measure(truth, predicted) for truth in truths)


def mean_scores(truths: Sequence[Sequence[Span]], predicted: Sequence[Span]) -> dict[str, float]:
    """``{"ff1": ..., "aos": ...}``: means over questions of the best annotation.

    Args:
        truths: the annotations of each question.
        predicted: one span per question.

    Raises:
        ValueError: no questions, other numbers of them, or one without annotation.
    """
    if not truths:
        raise ValueError("there are no questions to score")
    pairs = list(zip(truths, predicted, strict=True))
    measures = {"ff1": frame_f1, "aos": overlap_score}
    return {name: sum(best(measure, *pair) for pair in pairs) / len(pairs) for name, measure in measures.items()}
