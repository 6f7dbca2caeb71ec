"""What slot filling is measured by: slots as they stand in a tagged text (spec: downstream-content.md 6).

    PLAY B-artist QUEEN E-artist NOW    ->    [("artist", "QUEEN")]

| metric | |
|---|---|
| ``slot_type_f1`` | F1 between the sets of types of an utterance, averaged over utterances |
| ``slot_value_cer``, ``slot_value_wer`` | error rate of the value of each reference slot against the best hypothesised one of its type |
| ``slot_edit_f1_full``, ``slot_edit_f1_part`` | F1 over equal values, in percent; ``full`` also counts types that no reference slot has |

All follow the published rules: the tag at the end of a slot is looked for as a prefix (``E-object`` also matches in ``E-object_name``), one
hypothesised value may serve several slots, superfluous values of a type that the reference has are free. Where there is nothing to measure
(no slot in any reference) the value is None; S3PRL divides by zero there, and fails on values with ``:`` or ``;``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from utility.metrics.error_rates import edit_distance

_SLOT = re.compile(r"B-(\S+) (.+?) E-\1")
_TAG = re.compile(r"B-\S+ | E-\S+")

Slot = tuple[str, str]


def slots_of(text: str, hypothesis: bool = False) -> list[Slot]:
    """(type, value) of each slot of a tagged text, in order.

    Args:
        text: words and tags, separated by one or more spaces.
        hypothesis: remove tags that are left within a value.
    """
    found = _SLOT.findall(re.sub(" +", " ", text))
    return [(kind, _TAG.sub("", value)) for kind, value in found] if hypothesis else found


def untagged(text: str) -> str:
    """The words alone, separated by single spaces."""
    return " ".join(re.sub(r"B-\S+ | E-\S+", " ", f" {text} ").split())


def _by_type(slots: Iterable[Slot]) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for kind, value in slots:
        values.setdefault(kind, []).append(value)
    return values


Pairs = list[tuple[dict[str, list[str]], dict[str, list[str]]]]


def paired(hypotheses: Iterable[str], references: Iterable[str]) -> Pairs:
    """Type -> values of each (hypothesis, reference).

    Raises:
        ValueError: one hypothesis too few or too many.
    """
    pairs = zip(hypotheses, references, strict=True)
    return [(_by_type(slots_of(hypothesis, hypothesis=True)), _by_type(slots_of(reference))) for hypothesis, reference in pairs]


def type_f1(pairs: Pairs) -> float | None:
    """``slot_type_f1``, a fraction; None without any utterance."""
    return sum(_f1_of_types(hypothesis, reference) for hypothesis, reference in pairs) / len(pairs) if pairs else None


def _f1_of_types(hypothesis: dict, reference: dict) -> float:
    if not hypothesis and not reference:
        return 1.0
    common = len(hypothesis.keys() & reference.keys())
    if not common:
        return 0.0
    precision, recall = common / len(hypothesis), common / len(reference)
    return 2 * precision * recall / (precision + recall)


def value_error_rate(pairs: Pairs, tokens: Callable[[str], Sequence[str]] = str) -> float | None:
    """``slot_value_cer``, or with ``tokens`` that cuts at single spaces ``slot_value_wer``: a fraction; None if no reference has a slot."""
    errors = length = 0
    for hypothesis, reference in pairs:
        for kind, values in reference.items():
            candidates = [tokens(value) for value in hypothesis.get(kind, [""])]
            for value in map(tokens, values):
                errors += min(edit_distance(candidate, value) for candidate in candidates)
                length += len(value)
    return errors / length if length else None


def edit_f1(pairs: Pairs, full: bool = True) -> float | None:
    """``slot_edit_f1_full`` or ``slot_edit_f1_part``, in percent; None if there is nothing to count."""
    right = missed = wrong = 0
    for hypothesis, reference in pairs:
        for kind, values in reference.items():
            hits = sum(value in hypothesis.get(kind, ()) for value in values)
            right += hits
            missed += len(values) - hits
            wrong += len(values) - hits if kind in hypothesis else 0
        if full:
            wrong += sum(len(values) for kind, values in hypothesis.items() if kind not in reference)
    total = 2 * right + wrong + missed
    return 100 * 2 * right / total if total else None


# Name in a config -> the metric, from pairs of slots.
SLOT_METRICS: dict[str, Callable[[Pairs], float | None]] = {
    "slot_type_f1": type_f1,
    "slot_value_cer": value_error_rate,
    "slot_value_wer": lambda pairs: value_error_rate(pairs, lambda value: value.split(" ")),
    "slot_edit_f1_full": edit_f1,
    "slot_edit_f1_part": lambda pairs: edit_f1(pairs, full=False),
}
