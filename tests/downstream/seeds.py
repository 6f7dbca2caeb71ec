"""The seeds of the tests of learning: one among the slow tests, two more for ``-m exhaustive``."""

from __future__ import annotations

import pytest

SEEDS = [1, *(pytest.param(seed, marks=pytest.mark.exhaustive) for seed in (2, 3))]
