"""Randomness as a pure function of position.

No generator state is ever saved: before each forward pass, each data item and each epoch's order the global generators are seeded from
where the run stands, so that a resumed run draws what the uninterrupted one would have drawn.
"""

from __future__ import annotations

import random
import zlib
from enum import IntEnum

import numpy as np
import torch


class Stream(IntEnum):
    """What the random numbers are for; streams never share a seed."""

    BUILD = 0  # construction of the models
    ORDER = 1  # the order of the batches of an epoch
    ITEM = 2  # one data item
    FORWARD = 3  # one training micro-batch
    EVALUATION = 4  # one evaluation batch


def seed_everything(seed: int, stream: Stream, *position: int) -> None:
    """Seeds Python's, numpy's and torch's (every device's) global generators.

    Args:
        seed: the experiment's seed, >= 0.
        stream: what the numbers are for.
        position: non-negative integers; the same count for each use of one stream, so that no two positions share a seed.
    """
    words = np.random.SeedSequence(seed, spawn_key=(int(stream), *position)).generate_state(4, np.uint64)
    random.seed(int(words[0]))
    np.random.seed(words[1:3].view(np.uint32))
    if torch.cuda.is_initialized() or torch.backends.mps.is_available():
        torch.manual_seed(int(words[3]))
    else:  # what manual_seed leaves to devices that are not in use costs it a millisecond, and this is done for every item
        torch.default_generator.manual_seed(int(words[3]))


def number_of(name: object) -> int:
    """A stable number for something that is no number (the name of a split, a string index)."""
    return zlib.crc32(repr(name).encode())
