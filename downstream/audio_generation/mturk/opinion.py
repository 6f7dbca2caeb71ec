"""Opinions of raters as numbers (specs/audio-generation.md, 11.4).

Means with 95 % intervals, which raters are not to be trusted, agreement on digits.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from utility.errors import DataError

from .results import Answer

NORMAL = 1.96
OF_RATERS = "_of_raters"
"""Ends the names of means over raters."""

GOLD = {"4.wav": (2, 2), "10.wav": (2, 2), "15.wav": (5, 2), "17.wav": (2, 2), "21.wav": (2, 2)}
"""Recordings of the data set in which raters must hear what is wrong: the most quality and musicality that they may give."""


@dataclass(frozen=True)
class Mean:
    """A mean opinion.

    Args:
        mean, deviation: of the answers; the deviation with n - 1.
        count: n.
        low, high: of the interval; it holds the true mean with a chance of 95 % if the answers are independent and normal and, for
            :func:`mean_of`, many.
    """

    mean: float
    count: int
    deviation: float
    low: float
    high: float


Means = dict[str, Mapping[str, Mean | None]]
"""By question and method; names that end in :data:`OF_RATERS` have means over raters, None where there is but one."""


def mean_of(values: Sequence[float], repeats: int = 1, what: str = "") -> Mean:
    """Mean and interval as in SaShiMi's study, too narrow where there are few answers or many of one rater; see :func:`mean_of_raters`.

    Args:
        values: of at least two independent opinions.
        repeats: each opinion stands there so many times, so that only ``len(values) / repeats`` are independent.
        what: the question and the method, for the sentence.

    Raises:
        DataError: fewer than two opinions.
    """
    n = len(values)
    if n < 2 or n <= repeats:
        of = f" of the {what}" if what else ""
        raise DataError(f"the interval{of} needs at least 2 independent answers, not {math.ceil(n / repeats)}")
    mean = math.fsum(values) / n
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = NORMAL * deviation / math.sqrt(n / repeats)
    return Mean(mean, n, deviation, mean - half, mean + half)


def mean_of_raters(values: Mapping[str, Sequence[float]]) -> Mean | None:
    """Mean over the means of raters, and Student's interval of it.

    What one rater says has his taste in common, whatever he hears; what two say is independent.

    Args:
        values: opinions by rater.

    Returns:
        None for a single rater, of whom no interval is known.
    """
    if len(values) < 2:
        return None
    from scipy.special import stdtrit

    means = [math.fsum(given) / len(given) for given in values.values()]
    n, mean = len(means), math.fsum(means) / len(means)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in means) / (n - 1))
    half = float(stdtrit(n - 1, 0.975)) * deviation / math.sqrt(n)
    return Mean(mean, n, deviation, mean - half, mean + half)


def untrusted(answers: Iterable[Answer], gold: Mapping[str, tuple[int, int]], method: str = "test") -> set[str]:
    """Raters who gave some gold recording more than it may have.

    Args:
        answers: of music.
        gold: the most quality and musicality by file name.
        method: whose files these are.
    """
    asked = [(answer, gold[answer.name]) for answer in answers if answer.method == method and answer.name in gold]
    return {
        answer.worker
        for answer, most in asked
        if any(answer.given.get(question, 0) > limit for question, limit in zip(("quality", "musicality"), most, strict=True))
    }


def music(answers: Sequence[Answer], blocked: Collection[str], gold: Collection[str], method: str = "test") -> Means:
    """Quality and musicality by method, without the blocked raters and the gold recordings."""
    kept = [a for a in answers if a.worker not in blocked and not (a.method == method and a.name in gold)]
    return _both(kept, {"quality": False, "musicality": False})


def speech(answers: Sequence[Answer], per_class: int) -> tuple[Means, dict[str, float], dict[str, float]]:
    """Means by question and method, agreement with the digit, and Cohen's kappa, by method.

    Args:
        answers: of digits; those without a digit do not count.
        per_class: the recordings 0 to per_class - 1 are zeros, and so on.

    Raises:
        DataError: a method has not ten times as many recordings, or one beyond the nines.
    """
    kept = [answer for answer in answers if "digit" in answer.given]
    means = _both(kept, {"intelligibility": False, "quality": True, "diversity": True})
    labels: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for answer in kept:
        labels[answer.method].append((_digit(answer, per_class), answer.given["digit"]))
    agreement = {method: sum(true == said for true, said in pairs) / len(pairs) for method, pairs in labels.items()}
    kappa = {method: _kappa(pairs) for method, pairs in labels.items()}
    return means, agreement, kappa


def _kappa(pairs: Sequence[tuple[int, int]]) -> float:
    """Cohen's kappa of true and said digits; 1 where both are always the same one, for which the formula has 0/0."""
    from sklearn.metrics import cohen_kappa_score

    return float(cohen_kappa_score(*zip(*pairs, strict=True))) if len(set().union(*pairs)) > 1 else 1.0


def _both(answers: Sequence[Answer], questions: Mapping[str, bool]) -> Means:
    """Means of the answers to each question, some of which are asked once a page, and beside them those of raters."""
    means: Means = {}
    for question, shared in questions.items():
        means[question] = _means(answers, question, shared)
        means[question + OF_RATERS] = _means_of_raters(answers, question)
    return means


def _means_of_raters(answers: Iterable[Answer], question: str) -> dict[str, Mean | None]:
    values: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for answer in answers:
        if question in answer.given:
            values[answer.method][answer.worker].append(answer.given[question])
    return {method: mean_of_raters(given) for method, given in sorted(values.items())}


def _means(answers: Iterable[Answer], question: str, shared: bool) -> dict[str, Mean]:
    values: dict[str, list[int]] = defaultdict(list)
    repeats: dict[str, int] = {}
    for answer in answers:
        if question in answer.given:
            values[answer.method].append(answer.given[question])
            repeats[answer.method] = answer.shared if shared else 1
    return {method: mean_of(given, repeats[method], f"{question} of {method}") for method, given in sorted(values.items())}


def _digit(answer: Answer, per_class: int) -> int:
    """Which digit a recording is of, by its name; a wrong ``per_class`` would give a wrong kappa."""
    stem = Path(answer.name).stem
    if not stem.isdecimal():
        raise DataError(f"recording {answer.name} is not called by a number, so its digit is not known; prepare_sc09.py names them so")
    if answer.recordings != 10 * per_class:
        raise DataError(
            f"uids.txt holds {answer.recordings} recordings of {answer.method}, not {10 * per_class}: --per_class {per_class} is wrong"
        )
    if int(stem) >= answer.recordings:
        raise DataError(f"recording {answer.name} of {answer.method} is of no digit: the nines end with {answer.recordings - 1}")
    return int(stem) // per_class
