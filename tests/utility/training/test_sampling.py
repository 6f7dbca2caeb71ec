"""Class-balanced sampling."""

from __future__ import annotations

from collections import Counter

import torch

from utility.training.sampling import balanced_sampler, balanced_weights


def test_weights():
    assert balanced_weights(["a", "b", "b", "b"]) == [4.0, 4 / 3, 4 / 3, 4 / 3]


def test_rare_classes_come_as_often():
    labels = [0] * 990 + [1] * 10
    torch.manual_seed(0)
    drawn = Counter(labels[index] for index in balanced_sampler(labels))
    assert sum(drawn.values()) == 1000
    assert 430 < drawn[1] < 570
