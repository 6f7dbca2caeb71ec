"""The metrics of generated recordings against those of the released program, and against their formulas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.cluster import KMeans

from utility.errors import DataError
from utility.metrics.generation import (
    Outputs,
    TrainingBins,
    am_score,
    frechet_distance,
    inception_score,
    measure,
    modified_inception_score,
    ndb_score,
    released_inception_score,
    tune_thresholds,
)
from utility.metrics.generation.bins import different_bins

CASES = ["balanced", "imbalanced", "ndb", "few_samples_singular"]


def arrays(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    inputs, expected = (np.load(folder / f"{name}.npz") for name in ("inputs", "expected"))
    return dict(inputs), dict(expected)


@pytest.mark.parametrize("case", CASES)
def test_recorded_scores(golden, case: str):
    inputs, expected = arrays(golden(f"generation/metrics/{case}"))
    training, generated = (Outputs(inputs[f"{side}_probs"], inputs[f"{side}_activations"]) for side in ("train", "gen"))
    loose = 1e-3 if case == "few_samples_singular" else 1e-6
    distance = frechet_distance(generated.activations, training.activations)
    assert distance == pytest.approx(expected["fid_peer_real"], rel=loose)
    assert distance == pytest.approx(expected["fid_textbook"], rel=loose)
    assert frechet_distance(training.activations, training.activations) == pytest.approx(0, abs=1e-9)
    for side, outputs in (("train", training), ("gen", generated)):
        assert released_inception_score(outputs.probabilities) == pytest.approx(expected[f"is_peer_{side}"], rel=1e-6)
        assert modified_inception_score(outputs.probabilities) == pytest.approx(expected[f"mis_peer_{side}"], rel=1e-6)
        assert am_score(training.probabilities, outputs.probabilities) == pytest.approx(expected[f"am_peer_{side}"], rel=1e-6)
    assert inception_score(generated.probabilities) == pytest.approx(expected["is_textbook"], rel=1e-6)
    assert am_score(training.probabilities, generated.probabilities) == pytest.approx(expected["am_textbook_KL_train_gen"], rel=1e-6)


@pytest.mark.parametrize("side", ["gen", "train"])
def test_recorded_draws(golden, side: str):
    """The random numbers themselves: a permutation, pairs, and where the generator stands afterwards."""
    inputs, expected = arrays(golden("generation/metrics/imbalanced"))
    probabilities = inputs[f"{side}_probs"]
    assert np.array_equal(np.random.RandomState(0).permutation(len(probabilities)), expected[f"is_permutation_{side}"])
    rng = np.random.RandomState(0)
    modified_inception_score(probabilities, rng)
    assert rng.randint(0, 2**30) == expected[f"mis_rng_next_{side}"]


def test_pairs_estimate_all_pairs(golden):
    inputs, expected = arrays(golden("generation/metrics/balanced"))
    assert modified_inception_score(inputs["gen_probs"]) == pytest.approx(expected["mis_textbook_all_pairs"], rel=0.05)


def test_recorded_bins(golden):
    inputs, expected = arrays(golden("generation/metrics/ndb"))
    bins = TrainingBins(expected["ndb_centers"])
    for side in ("train", "gen"):
        assert np.array_equal(bins.labels(inputs[f"{side}_activations"]), expected[f"ndb_labels_{side}"])
        assert np.array_equal(bins.counts(inputs[f"{side}_activations"]), expected[f"ndb_counts_{side}"])
    differ = different_bins(expected["ndb_counts_train"], expected["ndb_counts_gen"])
    assert np.array_equal(differ, expected["ndb_different_bins"])
    assert ndb_score(inputs["train_activations"], inputs["gen_activations"], bins) == pytest.approx(expected["ndb_peer"])


def test_own_bins_find_what_is_missing(golden):
    """Bins of one's own: the training set differs from itself in none, from one of its clusters in most."""
    inputs, _ = arrays(golden("generation/metrics/ndb"))
    training = inputs["train_activations"]
    bins = TrainingBins.of(training)
    assert bins.counts(training).min() >= 1
    assert ndb_score(training, training, bins) == 0
    one = training[bins.labels(training) == 3]
    assert ndb_score(training, np.repeat(one, 200, axis=0), bins) > 0.2


def test_empty_bins_do_not_differ():
    assert different_bins(np.array([10, 0, 90]), np.array([10, 0, 90])).tolist() == [False] * 3
    assert different_bins(np.array([10, 0, 90]), np.array([60, 0, 40])).tolist() == [True, False, True]


def test_recorded_thresholds(golden):
    inputs, expected = arrays(golden("generation/metrics/threshold"))
    training = Outputs(inputs["train_probs"], inputs["train_activations"])
    samples = Outputs(inputs["sample_probs"], inputs["sample_activations"])
    tuned = tune_thresholds(samples, len(inputs["test_probs"]))
    assert np.array_equal(tuned.tuning, expected["val_indices"])
    assert np.array_equal(tuned.held_out, expected["test_indices"])
    assert np.array_equal(tuned.bounds, expected["slices"])
    np.testing.assert_allclose(tuned.grid, expected["grid"], rtol=1e-6)
    for name, row in (("released", tuned.released), ("argmax", tuned.best)):
        np.testing.assert_allclose(tuned.grid[row, :2], expected[f"{name}_thresholds"], rtol=1e-9)
        assert tuned.bounds[row].tolist() == expected[f"{name}_slice"].tolist()
        scores = measure(training, samples[tuned.kept(row)])
        for ours, theirs in (("fid", "fid"), ("is_released", "is"), ("mis", "mis"), ("am", "am")):
            assert scores[ours] == pytest.approx(expected[f"{name}_{theirs}"], rel=1e-6)


def test_parts_of_a_sample_are_left_out():
    rng = np.random.default_rng(0)
    tuned = tune_thresholds(Outputs(rng.dirichlet(np.ones(10), 50), rng.normal(size=(50, 4))), 7)
    lower, upper = tuned.grid[:, :2].T
    assert tuned.bounds[tuned.released].tolist() == [10, 23]  # of 25: from 0.4 on, and 0.95 of them are 23.75
    assert (tuned.bounds[:, 0] == (lower * 25 + 1e-9).astype(int)).all()
    assert (abs(tuned.bounds[:, 1] - (upper * 25 - 0.5)) <= 0.5 + 1e-9).all()


def test_bins_are_the_best_of_ten_starts():
    rows = np.random.default_rng(0).normal(size=(300, 4))

    def spread(starts: int) -> float:
        return KMeans(20, random_state=0, n_init=starts).fit(rows).inertia_

    own = TrainingBins.of(rows, 20)
    found = np.square(rows - own.centres[own.labels(rows)]).sum()
    assert found == pytest.approx(spread(10)) and found < spread(1) * 0.999


def test_certain_and_balanced_answers_reach_the_number_of_classes():
    rows = np.tile(np.eye(10), (20, 1))
    assert inception_score(rows) == pytest.approx(10)
    assert am_score(rows, rows) == pytest.approx(0, abs=1e-9)
    assert inception_score(np.full((20, 10), 0.1)) == pytest.approx(1)


def test_the_released_form_exceeds_the_classes_where_they_are_not_balanced():
    """One rare class: the formula says 1.2 classes at most, the released form sees far more."""
    rows = np.full((400, 10), 1e-6) + np.eye(10)[[0] * 398 + [1] * 2]
    rows /= rows.sum(axis=1, keepdims=True)
    assert inception_score(rows) < 1.2
    assert released_inception_score(rows) > 1.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: frechet_distance(np.zeros((1, 3)), np.zeros((5, 3))), "at least 2 recordings on each side, not 1"),
        (lambda: frechet_distance(np.zeros((5, 2)), np.zeros((5, 3))), "cannot be compared"),
        (lambda: inception_score(np.zeros((0, 10))), "at least 1 rows"),
        (lambda: inception_score(np.ones((4, 10))), "sum to 1 in each row"),
        (lambda: am_score(np.ones((4, 1)), np.full((4, 2), 0.5)), "of 1 and of 2 classes"),
        (lambda: TrainingBins.of(np.zeros((7, 3))), "50 bins need at least as many recordings"),
        (lambda: tune_thresholds(Outputs(np.full((8, 2), 0.5), np.zeros((8, 3))), 4), "cannot be tuned on 8 samples"),
        (lambda: Outputs(np.zeros((3, 2)), np.zeros((4, 2))), "do not belong to the same recordings"),
    ],
)
def test_what_cannot_be_scored(call, message: str):
    with pytest.raises(DataError, match=message):
        call()
