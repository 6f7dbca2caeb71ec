"""Warping against its definition, in blocks, on several threads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from downstream.quesst14_dtw import frames as frames_module
from downstream.quesst14_dtw import search
from downstream.quesst14_dtw.distances import OWN, metric_named
from downstream.quesst14_dtw.dtw import Path, Warping, accumulate, beginning
from downstream.quesst14_dtw.frames import FrameStore, Statistics
from downstream.quesst14_dtw.search import Method, Queries, normalised_scores, search_all
from utility.errors import ConfigError, UnknownNameError

# (query frames, document frames, weight) of each step
STEPS = {
    "asymmetric": ((1, 0, 1), (1, 1, 1), (1, 2, 1)),
    "symmetric1": ((1, 0, 1), (1, 1, 1), (0, 1, 1)),
    "symmetric2": ((1, 0, 1), (1, 1, 2), (0, 1, 1)),
}
WAYS = [("asymmetric", True), *((pattern, False) for pattern in STEPS)]


def table(costs: np.ndarray, pattern: str, free: bool) -> np.ndarray:
    """Accumulated costs, cell by cell."""
    total = np.full(costs.shape, np.inf)
    for i, j in np.ndindex(*costs.shape):
        if i == 0 and (free or j == 0):
            total[i, j] = costs[i, j]
        for di, dj, weight in STEPS[pattern]:
            if i >= di and j >= dj:
                total[i, j] = min(total[i, j], total[i - di, j - dj] + weight * costs[i, j])
    return total


@st.composite
def costs(draw) -> np.ndarray:
    """Matrices of up to 6 by 12 small whole numbers, so that there are equal paths."""
    shape = draw(st.tuples(st.integers(1, 6), st.integers(1, 12)))
    return np.random.default_rng(draw(st.integers(0, 2**32 - 1))).integers(0, 6, shape).astype(float)


@pytest.mark.parametrize(("pattern", "free"), WAYS)
@settings(max_examples=40, deadline=None)
@given(matrix=costs(), block=st.integers(1, 12))
def test_costs_equal_their_definition_whatever_the_blocks(pattern, free, matrix, block):
    expected = table(matrix, pattern, free)
    for rows, last in enumerate(expected, 1):  # the last row of each of the matrix' beginnings
        path = Path(Warping(pattern, free), rows)
        for start in range(0, matrix.shape[1], block):
            path.advance(np.ascontiguousarray(matrix[:rows, start : start + block]))
            done = last[: start + block]
            assert (path.end.cost, path.end.column) == ((done.min(), done.argmin()) if free else (done[-1], len(done) - 1))


@settings(max_examples=40, deadline=None)
@given(matrix=costs())
def test_a_path_begins_where_its_cost_says(matrix):
    expected = table(matrix, "asymmetric", True)
    end = int(expected[-1].argmin())
    begin = beginning(matrix[:, : end + 1])
    only = np.full(matrix.shape[1], np.inf)
    only[begin] = matrix[0, begin]
    row = only
    for i in range(1, len(matrix)):
        row = np.array([matrix[i, j] + min(row[max(0, j - 2) : j + 1]) for j in range(matrix.shape[1])])
    assert row[end] == expected[-1, end]


def test_row_ranges_are_applied():
    """With them, D is [0, 1, 0.5] and [0.5, 0, 1]."""
    matrix = np.array([[1.0, 3.0, 2.0], [4.0, 2.0, 6.0]])
    low, high = matrix.min(axis=1), matrix.max(axis=1)
    left = np.full((2, 2), np.inf)
    assert accumulate(matrix, low, high - low, 0, True, True, left) == (0, 1, 1)
    np.testing.assert_allclose(left, [[1, 0.5], [0, 1]])


@pytest.mark.parametrize("name", [*OWN, "cityblock"])
@pytest.mark.parametrize("minmax", [True, False])
def test_long_documents_in_blocks_score_as_whole_ones(monkeypatch, name, minmax):
    rng = np.random.default_rng(1)
    positive = np.abs if name == "cosine_neg_log" else np.asarray
    frames = [positive(rng.normal(size=(length, 4))) for length in (5, 9, 30)]
    document = positive(rng.normal(size=(100, 4)))
    queries = Queries(frames, Method(metric_named(name), Warping(), minmax))
    whole, place = queries.scores(document), queries.locate(1, document)
    monkeypatch.setattr(search, "COLUMNS", 17)
    monkeypatch.setattr(search, "CELLS", 200)
    np.testing.assert_allclose(queries.scores(document), whole, rtol=1e-9)
    again = queries.locate(1, document)
    prepared_anew = Queries([f + 1 for f in frames], queries.method, lambda f: f - 1).scores(document + 1)
    np.testing.assert_allclose(prepared_anew, whole, rtol=1e-6)
    assert (again.first, again.last) == (place.first, place.last)
    assert again.score == pytest.approx(place.score, rel=1e-9)


@pytest.mark.parametrize(("query", "document"), [(50, 360_000), (6_000, 2_000), (400, 20_000)])
def test_memory_is_bounded(query, document):
    """Of short queries in an hour, and of a minute in shorter documents, no more distances than a block's are ever held at a time."""
    largest, metric = 0, metric_named("cosine")

    def counting(query, document):
        nonlocal largest
        largest = max(largest, len(query) * len(document))
        return metric.between(query, document)

    rng = np.random.default_rng(0)
    frames = rng.normal(size=(document, 2))
    queries = Queries([rng.normal(size=(query, 2)) for _ in range(2)], Method(search.Metric("cosine", metric.prepare, counting), Warping()))
    scores = queries.scores(frames)
    assert queries.locate(0, frames).score == pytest.approx(scores[0], rel=1e-9)
    assert search.CELLS / 2 < largest <= search.CELLS


def test_a_long_query_is_found_where_it_lies(monkeypatch):
    """Also where its distances are worked off a few columns, or a few rows, at a time."""
    rng = np.random.default_rng(6)
    document = rng.normal(size=(900, 8))
    queries = Queries([document[100:800]], Method(metric_named("cosine_exp"), Warping()))
    whole = queries.locate(0, document)
    monkeypatch.setattr(search, "CELLS", 2000)
    match = queries.locate(0, document)
    assert (match.first, match.last) == (whole.first, whole.last) == (100, 799)
    assert match.score == pytest.approx(0, abs=1e-9)


def test_a_copied_piece_is_found_where_it_lies():
    rng = np.random.default_rng(2)
    document = rng.normal(size=(300, 8))
    match = Queries([document[120:150]], Method(metric_named("cosine_exp"), Warping())).locate(0, document)
    assert (match.first, match.last) == (120, 149)
    assert match.score == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_do_not_change_the_scores(workers):
    rng = np.random.default_rng(3)
    queries = Queries([rng.normal(size=(length, 6)) for length in (5, 20, 60)], Method(metric_named("cosine_exp"), Warping()))
    documents = [rng.normal(size=(int(length), 6)) for length in rng.integers(1, 200, 12)]
    found = search_all(queries, [lambda d=d: d for d in documents], workers)
    np.testing.assert_array_equal(found, np.stack([queries.scores(d) for d in documents], axis=1))


def test_a_worker_s_error_comes_out():
    def broken():
        raise OSError("gone")

    queries = Queries([np.ones((5, 2))], Method(metric_named("cosine"), Warping()))
    with pytest.raises(OSError, match="gone"):
        search_all(queries, [broken] * 3, 2)


def test_scores_are_normalised_per_query():
    found = normalised_scores(np.array([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]]))
    np.testing.assert_allclose(found, [[-np.sqrt(1.5), 0, np.sqrt(1.5)], [0, 0, 0]], atol=1e-12)


def test_a_silent_frame_is_far_from_everything():
    metric = metric_named("cosine")
    assert (metric.between(metric.prepare(np.zeros((1, 3))), metric.prepare(np.eye(3))) == 1).all()


SCIPY = "braycurtis canberra chebyshev cityblock correlation cos eu jaccard jensenshannon minkowski"
OF_SETS = "seuclidean se S test_seuclidean mahalanobis mahal"


@pytest.mark.parametrize("name", OF_SETS.split())
def test_distances_that_depend_on_a_whole_set_are_refused(name):
    with pytest.raises(ConfigError, match=f"dist_method '{name}' is no distance between two frames"):
        metric_named(name)


@pytest.mark.parametrize("name", [*OWN, *SCIPY.split()])
def test_a_distance_does_not_depend_on_other_frames(name):
    metric = metric_named(name)
    frames = np.abs(np.random.default_rng(5).normal(size=(7, 4)))
    query, document = metric.prepare(frames[:3]), metric.prepare(frames[3:])
    together = metric.between(query, document)
    alone = [[metric.between(query[i : i + 1], document[j : j + 1])[0, 0] for j in range(4)] for i in range(3)]
    np.testing.assert_allclose(together, alone, rtol=1e-9)


def test_unknown_metrics_are_named():
    with pytest.raises(UnknownNameError, match="unknown dist_method 'cosin'; did you mean 'cosine'"):
        metric_named("cosin")


def test_features_on_disk_come_back_with_their_statistics(tmp_path, monkeypatch):
    monkeypatch.setattr(frames_module, "BLOCK", 8)
    rng = np.random.default_rng(4)
    parts = [rng.normal(3, 5, size=(length, 4)).astype(np.float32) for length in (7, 0, 1, 30)]
    store = FrameStore(tmp_path / "new")
    numbers = [store.add(part) for part in parts]
    for number, part in zip(numbers, parts, strict=True):
        np.testing.assert_array_equal(store.read(number), part)
    together = np.concatenate(parts).astype(np.float64)
    expected = (parts[0] - together.mean(axis=0)) / together.std(axis=0, ddof=1)
    np.testing.assert_allclose(store.statistics.normalise(parts[0]), expected, rtol=1e-9)
    store.close()
    assert not list((tmp_path / "new").iterdir())


def test_statistics_of_one_frame_are_finite():
    statistics = Statistics()
    statistics.add(np.ones((1, 3)))
    assert np.isfinite(statistics.normalise(np.ones((1, 3)))).all()
