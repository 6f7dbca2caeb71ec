"""The part of answers that are right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def accuracy(answers: Sequence | Mapping[str, Any], truth: Sequence | Mapping[str, Any]) -> float:
    """Fraction of equal items, of lists in order or of dicts by key.

    Raises:
        ValueError: nothing to compare, or not the same items.
    """
    if isinstance(answers, Mapping):
        if answers.keys() != truth.keys():
            raise ValueError("answers and truth must have the same keys")
        answers, truth = list(answers.values()), [truth[key] for key in answers]
    if not truth:
        raise ValueError("there is nothing to compare")
    return sum(answer == right for answer, right in zip(answers, truth, strict=True)) / len(truth)
