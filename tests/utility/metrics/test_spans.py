"""Frame F1 and overlap of answer spans."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from utility.metrics.spans import best, frame_f1, mean_scores, overlap, overlap_score

SPANS = st.tuples(st.integers(0, 400), st.integers(1, 100)).map(lambda pair: (pair[0] / 100, (pair[0] + pair[1]) / 100))


@pytest.mark.parametrize(
    ("truth", "predicted", "f1", "aos"),
    [
        ((1, 3), (1, 3), 1, 1),
        ((1, 3), (2, 4), 1 / 2, 1 / 3),
        ((1, 3), (1, 2), 2 / 3, 1 / 2),
        ((0, 1), (0, 4), 2 / 5, 1 / 4),
        ((1, 3), (3, 4), 0, 0),  # they touch
        ((1, 3), (5, 6), 0, 0),
        ((1, 3), (2, 2), 0, 0),  # the prediction has no length
        ((2, 2), (1, 3), 0, 0),  # the truth has none
        ((2, 2), (2, 2), 1, 0),  # equal without length
        ((1, 3), (3, 1), 0, 0),  # end before start
        ((0, 0), (0, 1), 0, 0),  # an answer that the alignment did not find
    ],
)
def test_formulas(truth, predicted, f1, aos):
    assert frame_f1(truth, predicted) == pytest.approx(f1, abs=1e-12)
    assert overlap_score(truth, predicted) == pytest.approx(aos, abs=1e-12)


@given(SPANS, SPANS)
def test_equal_to_counting_frames(truth, predicted):
    frames = np.arange(600)
    gold, found = ((frames >= round(a * 100)) & (frames < round(b * 100)) for a, b in (truth, predicted))
    shared, union = (gold & found).sum(), (gold | found).sum()
    assert overlap(truth, predicted) == pytest.approx(shared / 100, abs=1e-9)
    assert overlap_score(truth, predicted) == pytest.approx(shared / union if gold.any() or found.any() else 0, abs=1e-9)
    precision, recall = shared / found.sum(), shared / gold.sum()
    assert frame_f1(truth, predicted) == pytest.approx(2 * precision * recall / (precision + recall) if shared else 0, abs=1e-9)


@given(SPANS, SPANS, st.floats(0.1, 10), st.floats(-5, 5))
def test_neither_unit_nor_origin_matters_and_both_are_symmetric(truth, predicted, scale, shift):
    assume(overlap(truth, predicted) > 1e-6)
    moved = [tuple(scale * second + shift for second in span) for span in (truth, predicted)]
    for measure in (frame_f1, overlap_score):
        assert measure(truth, predicted) == pytest.approx(measure(predicted, truth))
        assert measure(*moved) == pytest.approx(measure(truth, predicted), abs=1e-6)


def test_the_best_of_all_annotations_counts_the_last_one_too():
    truths = [(0.0, 1.0), (5.0, 6.0), (2.0, 4.0)]
    assert best(overlap_score, truths, (2.0, 3.0)) == 0.5
    assert best(frame_f1, truths, (0.0, 1.0)) == 1
    with pytest.raises(ValueError, match="without annotation"):
        best(frame_f1, [], (0.0, 1.0))


def test_means_over_questions():
    scores = mean_scores([[(0.0, 1.0)], [(0.0, 1.0), (2.0, 4.0)]], [(5.0, 6.0), (2.0, 3.0)])
    assert scores == {"ff1": pytest.approx(1 / 3), "aos": pytest.approx(1 / 4)}
    with pytest.raises(ValueError, match="no questions"):
        mean_scores([], [])
    with pytest.raises(ValueError):
        mean_scores([[(0.0, 1.0)]], [])
