"""Opinions of raters as numbers (specs/audio-generation.md, 11.4).

Means with 95 % intervals, which raters are not to be trusted, agreement on digits.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from utility.errors import DataError
from utility.text.files import rows_of

from .batches import place_of, read_uids

NORMAL = 1.96
GOLD = {"4.wav": (2, 2), "10.wav": (2, 2), "15.wav": (5, 2), "17.wav": (2, 2), "21.wav": (2, 2)}
"""Recordings of the data set in which raters must hear what is wrong: the most quality and musicality that they may give."""

OPINION = range(1, 6)
SCALES = {"quality": OPINION, "musicality": OPINION, "intelligibility": OPINION, "diversity": OPINION, "digit": range(10)}
"""What may be answered to each question; other columns of a result file are not read."""

_URL = re.compile(r"Input\.recording_(\d+)_url")


@dataclass(frozen=True)
class Answer:
    """What a rater said of one recording.

    Args:
        worker: the rater.
        method, name: whose recording, and its file.
        given: numbers by question; those that were left out are absent.
        shared: how many recordings this answer is repeated over, for questions that are asked once a page.
    """

    worker: str
    method: str
    name: str
    given: Mapping[str, int]
    shared: int


@dataclass(frozen=True)
class Mean:
    """A mean opinion.

    Args:
        mean, deviation: of the answers; the deviation with n - 1.
        count: n.
        low, high: of the interval that holds the true mean with a chance of 95 %, if answers were independent and normal.
    """

    mean: float
    count: int
    deviation: float
    low: float
    high: float


def mean_of(values: Sequence[float], repeats: int = 1, what: str = "") -> Mean:
    """Mean and interval.

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


def read_answers(results: Iterable[Path], batches: Path) -> list[Answer]:
    """The answers of MTurk's result files, or of those of serve.py.

    Args:
        results: ``Batch_<id>_batch_results.csv`` files.
        batches: what turk_create_batch.py wrote, a condition's folder or the folder above several.

    Raises:
        DataError: a file is missing, has no such columns, or names a recording that ``uids.txt`` does not.
    """
    uids = _uids(batches)
    return [answer for path in results for answer in _answers(path, uids, batches)]


def _uids(batches: Path) -> dict[str, dict[str, tuple[str, str]]]:
    """(method, name) by uid, by condition."""
    lists = [batches / "uids.txt"] if (batches / "uids.txt").is_file() else sorted(batches.glob("*/uids.txt"))
    if not lists:
        raise DataError(f"there is no uids.txt in {batches} nor in a folder of it; turk_create_batch.py writes it")
    return {path.absolute().parent.name: read_uids(path) for path in lists}


def _answers(path: Path, uids: Mapping[str, Mapping[str, tuple[str, str]]], batches: Path) -> Iterable[Answer]:
    for line, row in rows_of(path, ["WorkerId", "Input.recording_0_url"], "result file"):
        numbers = sorted(int(match[1]) for name in row if name and (match := _URL.fullmatch(name)))
        for number in numbers:
            condition, uid = place_of(row[f"Input.recording_{number}_url"])
            known = uids.get(condition, {}).get(uid)
            if known is None:
                raise DataError(f"{path}, line {line}: recording {condition}/{uid} is in no uids.txt of {batches}")
            given = _given(row, number, path, line)
            yield Answer(row["WorkerId"], *known, given, len(numbers))


def _given(row: Mapping[str, str], number: int, path: Path, line: int) -> dict[str, int]:
    given = {}
    for question, scale in SCALES.items():
        for name in (f"Answer.{question}", f"Answer.recording_{number}_{question}"):
            if text := row.get(name):
                given[question] = _value(text, scale, f"{path}, line {line}: {name}")
    return given


def _value(text: str, scale: range, place: str) -> int:
    try:
        value = float(text)
    except ValueError as error:
        raise DataError(f"{place} is {text!r}, not a number") from error
    if value not in scale:
        raise DataError(f"{place} is {text}, not a whole number from {scale[0]} to {scale[-1]}")
    return int(value)


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


def music(answers: Sequence[Answer], blocked: Collection[str], gold: Collection[str], method: str = "test") -> dict[str, dict[str, Mean]]:
    """Quality and musicality by method, without the blocked raters and the gold recordings."""
    kept = [a for a in answers if a.worker not in blocked and not (a.method == method and a.name in gold)]
    return {question: _means(kept, question) for question in ("quality", "musicality")}


def speech(answers: Sequence[Answer], per_class: int) -> tuple[dict[str, dict[str, Mean]], dict[str, float], dict[str, float]]:
    """Means by question and method, agreement with the digit, and Cohen's kappa, by method.

    Args:
        answers: of digits; those without a digit do not count.
        per_class: the recordings 0 to per_class - 1 are zeros, and so on.

    Raises:
        DataError: a recording beyond the nines.
    """
    kept = [answer for answer in answers if "digit" in answer.given]
    means = {
        question: _means(kept, question, shared=question != "intelligibility") for question in ("intelligibility", "quality", "diversity")
    }
    labels: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for answer in kept:
        digit = _number(answer.name) // per_class
        if digit > 9:
            raise DataError(f"recording {answer.name} of {answer.method} is of no digit: --per_class {per_class} is too small")
        labels[answer.method].append((digit, answer.given["digit"]))
    agreement = {method: sum(true == said for true, said in pairs) / len(pairs) for method, pairs in labels.items()}
    kappa = {method: _kappa(pairs) for method, pairs in labels.items()}
    return means, agreement, kappa


def _kappa(pairs: Sequence[tuple[int, int]]) -> float:
    """Cohen's kappa of true and said digits; 1 where both are always the same one, for which the formula has 0/0."""
    from sklearn.metrics import cohen_kappa_score

    return float(cohen_kappa_score(*zip(*pairs, strict=True))) if len(set().union(*pairs)) > 1 else 1.0


def _means(answers: Iterable[Answer], question: str, shared: bool = False) -> dict[str, Mean]:
    values: dict[str, list[int]] = defaultdict(list)
    repeats: dict[str, int] = {}
    for answer in answers:
        if question in answer.given:
            values[answer.method].append(answer.given[question])
            repeats[answer.method] = answer.shared if shared else 1
    return {method: mean_of(given, repeats[method], f"{question} of {method}") for method, given in sorted(values.items())}


def _number(name: str) -> int:
    stem = Path(name).stem
    if not stem.isdecimal():
        raise DataError(f"recording {name} is not called by a number, so its digit is not known; prepare_sc09.py names them so")
    return int(stem)
