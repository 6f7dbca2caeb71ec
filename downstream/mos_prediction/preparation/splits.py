"""Training and development parts of one list, apart and the same each time."""

from __future__ import annotations

import random
from collections.abc import Sequence

from .recipe import Split


def chosen(samples: Sequence[str], split: Split, half: str, shuffler: random.Random, most: int | None = None) -> set[str]:
    """The samples of a half.

    Args:
        samples: one name for each row of a list; all rows of a sample fall into one half.
        split: how they are divided.
        half: ``train`` or ``dev``.
        shuffler: seeded; a set of several lists takes one for all of them.
        most: draw no more than so many samples first; None: take all.
    """
    names = list(dict.fromkeys(samples))
    if split.order == "sorted":
        names.sort()
    if most is not None and most < len(names):
        names = shuffler.sample(names, most)
    shuffler.shuffle(names)
    place = int(split.ratio * len(names))
    return set(names[:place] if half == "dev" else names[place:])
