"""Samplers that several tasks share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

from torch.utils.data import WeightedRandomSampler


def balanced_weights(labels: Sequence[Hashable]) -> list[float]:
    """A weight per item, such that all classes are drawn equally often: number of items / size of the item's class."""
    sizes = Counter(labels)
    return [len(labels) / sizes[label] for label in labels]


def balanced_sampler(labels: Sequence[Hashable]) -> WeightedRandomSampler:
    """As many draws with replacement as there are items, every class equally likely; uses torch's global generator."""
    return WeightedRandomSampler(balanced_weights(labels), len(labels))
