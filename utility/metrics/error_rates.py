"""Word, character and phone error rates over a whole corpus (spec: downstream-content.md 2).

An error rate is the summed edit distance divided by the summed length of the references, a fraction that may exceed 1. As published:

- words and phones are what single spaces separate, so that the empty text holds one empty word and ``"a  b"`` holds three words;
- characters include spaces, and in slot filling the letters of the tags.

Where the references hold nothing at all the rate is 0 if the hypotheses are empty too, and 1 otherwise (S3PRL divides by zero).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

from rapidfuzz.distance import Levenshtein


def edit_distance(hypothesis: Sequence[Hashable], reference: Sequence[Hashable]) -> int:
    """Fewest insertions, deletions and substitutions that turn one sequence (a text, a list of tokens) into the other."""
    return Levenshtein.distance(hypothesis, reference)


def error_rate(hypotheses: Iterable[Sequence[Hashable]], references: Iterable[Sequence[Hashable]], empty: float | None = None) -> float:
    """Summed edit distance over summed length of the references.

    Args:
        hypotheses, references: as many sequences of tokens each (a text is a sequence of characters).
        empty: the rate where the references hold no token at all; None: 0 without any error, else 1.

    Raises:
        ValueError: one hypothesis too few or too many.
    """
    errors = tokens = 0
    for hypothesis, reference in zip(hypotheses, references, strict=True):
        errors += edit_distance(hypothesis, reference)
        tokens += len(reference)
    if tokens:
        return errors / tokens
    return float(errors > 0) if empty is None else empty


def wer(hypotheses: Iterable[str], references: Iterable[str]) -> float:
    """Word error rate of texts, split at single spaces."""
    return error_rate((text.split(" ") for text in hypotheses), (text.split(" ") for text in references))


def cer(hypotheses: Iterable[str], references: Iterable[str]) -> float:
    """Character error rate of texts."""
    return error_rate(hypotheses, references)


# Phones, and units in general, are written as words.
per = uer = wer
