"""Randomness as a function of a seed and names."""

from __future__ import annotations

import zlib

import numpy as np


def generator(seed: int, *names: object) -> np.random.Generator:
    """A random generator that depends on nothing but its arguments.

    Args:
        seed: the corpus' seed, >= 0.
        names: what the numbers are for, such as a split, a speaker's index, a word; compared by their text.
    """
    return np.random.default_rng(np.random.SeedSequence([seed, *(zlib.crc32(str(name).encode()) for name in names)]))
