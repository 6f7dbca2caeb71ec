"""Term-weighted value and cross entropy: by hand, against their definitions spelt out, and what must hold for any scores."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize

from utility.errors import DataError
from utility.metrics.detection import (
    BETA,
    PRIOR,
    Detection,
    Trials,
    actual_twv,
    collect,
    maximum_twv,
    minimum_cross_entropy,
    normalised_cross_entropy,
    score_trials,
)


def test_the_costs_are_those_of_quesst():
    assert pytest.approx(12.49) == BETA
    assert pytest.approx(0.0741289, abs=1e-7) == PRIOR


@pytest.fixture
def by_hand() -> Trials:
    """Query a is in document 1 alone, query b in 1 and 2, of four documents."""
    scores = np.array([[0.9, 0.1, 0.5, 0.2], [0.8, 0.3, 0.7, 0.0]])
    targets = np.array([[True, False, False, False], [True, True, False, False]])
    return Trials(scores, scores > 0.6, targets)


def test_values_by_hand(by_hand):
    # a: 1 of 1 found, none of 3 others; b: 1 of 2 found, 1 of 2 others
    assert actual_twv(by_hand) == pytest.approx(1 - (0 + (0.5 + 12.49 * 0.5)) / 2)
    assert maximum_twv(by_hand) == (pytest.approx(0.75), 0.8)  # a whole, b half, nothing wrong
    assert maximum_twv(by_hand, beta=0.1) == (pytest.approx(1 - 0.1 * (1 / 3 + 1 / 2) / 2), 0.3)
    assert actual_twv(Trials(by_hand.scores, by_hand.targets, by_hand.targets)) == pytest.approx(1)


def test_saying_no_to_everything_is_worth_nothing_and_the_least(by_hand):
    wrong = Trials(-by_hand.scores, by_hand.scores < -1, by_hand.targets)
    assert maximum_twv(wrong) == (0.0, math.inf)
    assert actual_twv(wrong) == 0


def test_equal_scores_are_accepted_together():
    targets = np.array([[True, False, False]])
    assert maximum_twv(Trials(np.array([[1.0, 1.0, 0.0]]), targets, targets)) == (0.0, math.inf)
    assert maximum_twv(Trials(np.array([[1.0, 0.5, 0.0]]), targets, targets)) == (1.0, 1.0)


def test_cross_entropies_by_hand(by_hand):
    silent = Trials(np.zeros((2, 4)), by_hand.decisions, by_hand.targets)
    assert normalised_cross_entropy(silent) == pytest.approx(1)
    assert minimum_cross_entropy(silent) == pytest.approx(1)
    sure = Trials(np.where(by_hand.targets, 50.0, -50.0), by_hand.decisions, by_hand.targets)
    assert normalised_cross_entropy(sure) < 1e-12
    # one target and one other trial, both with the score ln 2: the odds of a target become 2 : 1 at equal priors
    even = Trials(np.full((1, 2), math.log(2)), np.zeros((1, 2), bool), np.array([[True, False]]))
    assert normalised_cross_entropy(even, prior=0.5) == pytest.approx(0.5 * math.log2(3 / 2) + 0.5 * math.log2(3))


def test_missing_trials_take_the_default_and_queries_without_any_occurrence_are_left_out():
    found = {("a", "1"): Detection(0.5, True), ("a", "9"): Detection(1, True), ("z", "1"): Detection(1, True)}
    trials = collect(found, [("a", "1"), ("b", "2"), ("b", "8")], ["a", "b", "c"], ["1", "2"], default_score=-3)
    np.testing.assert_array_equal(trials.scores, [[0.5, -3], [-3, -3]])
    np.testing.assert_array_equal(trials.targets, [[True, False], [False, True]])
    np.testing.assert_array_equal(trials.decisions, [[True, False], [False, False]])


def test_nothing_to_score_is_an_error():
    with pytest.raises(DataError, match="occurs in any"):
        collect({}, [("a", "7")], ["a"], ["1"])
    with pytest.raises(DataError, match="every document"):
        score_trials(collect({}, [("a", "1")], ["a"], ["1"]))


# --- against the definitions, trial by trial


@st.composite
def trials(draw) -> Trials:
    """Up to five queries and seven documents, with equal scores among them."""
    shape = draw(st.tuples(st.integers(1, 5), st.integers(2, 7)))
    scores = draw(arrays(np.float64, shape, elements=st.integers(-8, 8).map(lambda n: n / 2)))
    targets = draw(arrays(bool, shape))
    targets[:, 0] = True
    targets[:, 1] = False
    return Trials(scores, draw(arrays(bool, shape)), targets)


def twv(trials: Trials, accepted: np.ndarray) -> float:
    """The spec's formula."""
    losses = []
    for said, true in zip(accepted, trials.targets, strict=True):
        missed = 1 - sum(s and t for s, t in zip(said, true, strict=True)) / sum(true)
        alarms = sum(s and not t for s, t in zip(said, true, strict=True)) / sum(~true)
        losses.append(missed + BETA * alarms)
    return 1 - sum(losses) / len(losses)


@settings(max_examples=60, deadline=None)
@given(trials())
def test_values_equal_their_definition(given_trials):
    assert actual_twv(given_trials) == pytest.approx(twv(given_trials, given_trials.decisions), abs=1e-12)
    candidates = [*np.unique(given_trials.scores), math.inf]
    best = max(twv(given_trials, given_trials.scores >= threshold) for threshold in candidates)
    found, threshold = maximum_twv(given_trials)
    assert found == pytest.approx(best, abs=1e-12)
    assert twv(given_trials, given_trials.scores >= threshold) == pytest.approx(best, abs=1e-12)


def cross_entropy(trials: Trials, gain: float = 1, offset: float = 0) -> float:
    """The spec's formula in bits."""
    logit = math.log(PRIOR / (1 - PRIOR))
    scores = gain * trials.scores + offset
    hits = [math.log2(1 + math.exp(-(s + logit))) for s in scores[trials.targets]]
    alarms = [math.log2(1 + math.exp(s + logit)) for s in scores[~trials.targets]]
    total = PRIOR * sum(hits) / len(hits) + (1 - PRIOR) * sum(alarms) / len(alarms)
    return total / (-PRIOR * math.log2(PRIOR) - (1 - PRIOR) * math.log2(1 - PRIOR))


@settings(max_examples=40, deadline=None)
@given(trials())
def test_cross_entropy_equals_its_definition(given_trials):
    assert normalised_cross_entropy(given_trials) == pytest.approx(cross_entropy(given_trials), rel=1e-10)


@settings(max_examples=15, deadline=None)
@given(trials())
def test_no_search_finds_a_lower_cross_entropy(given_trials):
    found = minimum_cross_entropy(given_trials)
    searched = minimize(lambda x: cross_entropy(given_trials, *np.clip(x, -60, 60)), [0.0, 0.0], method="Nelder-Mead")
    assert 0 <= found <= min(1, searched.fun) + 1e-9


@settings(max_examples=40, deadline=None)
@given(trials(), st.floats(-3, 3).filter(lambda gain: abs(gain) > 0.1), st.floats(-5, 5))
def test_the_lowest_cross_entropy_does_not_depend_on_scale_and_offset(given_trials, gain, offset):
    moved = Trials(gain * given_trials.scores + offset, given_trials.decisions, given_trials.targets)
    assert minimum_cross_entropy(moved) == pytest.approx(minimum_cross_entropy(given_trials), abs=1e-6)


def test_a_perfect_order_leaves_no_cross_entropy(by_hand):
    assert minimum_cross_entropy(Trials(np.where(by_hand.targets, 0.2, 0.1), by_hand.decisions, by_hand.targets)) < 1e-6


def test_the_lines_are_those_of_the_official_scorer(by_hand):
    first, second = score_trials(by_hand).lines()
    assert first == "actTWV: -2.37250000  maxTWV: 0.75000000  Threshold: 0.8"
    assert second.startswith("actCnxe: ") and "  minCnxe: 0." in second
