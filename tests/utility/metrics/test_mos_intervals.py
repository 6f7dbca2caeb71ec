"""Confidence intervals of the agreement with listeners."""

from __future__ import annotations

import numpy as np
import pytest

from utility.metrics.mos import KEYS, confidence_interval, evaluate


def test_the_interval_of_a_mean_is_that_of_statistics():
    rng = np.random.default_rng(0)
    truth = rng.uniform(1, 5, 400)
    predicted = truth + rng.normal(0, 0.5, 400)
    systems = [f"s{number % 20}" for number in range(400)]
    squared = (predicted - truth) ** 2
    for level, quantile in ((0.95, 1.96), (0.8, 1.2816)):
        found = confidence_interval(systems, truth, predicted, draws=600, level=level)
        half = quantile * squared.std() / 20
        low, high = found["utt_MSE"]
        assert high - low == pytest.approx(2 * half, rel=0.12)
        assert (low + high) / 2 == pytest.approx(squared.mean(), abs=0.1 * half)
    metrics = evaluate(systems, truth, predicted)
    assert set(found) == set(KEYS)
    assert all(found[key][0] < metrics[key] < found[key][1] for key in ("utt_LCC", "utt_SRCC", "utt_KTAU"))


def test_draws_where_a_number_is_undefined_do_not_count():
    assert set(confidence_interval(["s"] * 5, [1, 2, 3, 4, 5], [1, 2, 3, 5, 4], draws=50)) == {
        key for key in KEYS if key[:3] == "utt" or key == "sys_MSE"
    }
    assert set(confidence_interval(["s"], [1], [2], draws=5)) == {"utt_MSE", "sys_MSE"}
