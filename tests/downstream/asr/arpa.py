"""A word bigram model in the ARPA format, and a lexicon, from sentences."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"


def write_arpa(path: Path, sentences: Iterable[str], discount: float = 0.5) -> None:
    """Writes a bigram model with absolute discounting; what is discounted goes to the unigrams.

    Args:
        path: the file.
        sentences: words separated by spaces.
        discount: taken from each bigram's count.
    """
    lines = [[BEGIN, *sentence.split(), END] for sentence in sentences]
    unigrams = Counter(word for line in lines for word in line[1:])
    bigrams = Counter(pair for line in lines for pair in pairwise(line))
    followed, kinds = Counter(), Counter()
    for (before, _), count in bigrams.items():
        followed[before] += count
        kinds[before] += 1
    total, known = sum(unigrams.values()) + 1, [END, UNKNOWN, *sorted(set(unigrams) - {END})]
    single = {word: (unigrams[word] or 1) / total for word in known}
    backoff = _backoffs(bigrams, kinds, followed, single, discount)
    rows = [f"-99\t{BEGIN}\t{_log(backoff[BEGIN])}"]
    rows += [f"{_log(single[word])}\t{word}" + (f"\t{_log(backoff[word])}" if word in backoff else "\t0") for word in known]
    pairs = [f"{_log((count - discount) / followed[a])}\t{a} {b}" for (a, b), count in sorted(bigrams.items())]
    counts = f"\\data\\\nngram 1={len(rows)}\nngram 2={len(pairs)}\n"
    path.write_text("\n".join([counts, "\\1-grams:", *rows, "", "\\2-grams:", *pairs, "", "\\end\\", ""]))


def _backoffs(bigrams: Counter, kinds: Counter, followed: Counter, single: dict[str, float], discount: float) -> dict[str, float]:
    """Weight of the unigrams behind each word, such that all continuations add up to one."""
    seen = Counter()
    for before, after in bigrams:
        seen[before] += single[after]
    return {word: discount * kinds[word] / followed[word] / max(1e-9, 1 - seen[word]) for word in followed}


def _log(probability: float) -> str:
    return f"{math.log10(probability):.6f}"


def write_lexicon(path: Path, sentences: Iterable[str]) -> None:
    """Writes the spelling of every word."""
    words = sorted({word for sentence in sentences for word in sentence.split()})
    path.write_text("".join(f"{word}\t{' '.join(word)} |\n" for word in words))
