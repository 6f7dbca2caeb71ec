"""What S3PRL's expert recorded: distances, scores and places of single pairs, answers of whole runs."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch

from downstream.quesst14_dtw.distances import metric_named
from downstream.quesst14_dtw.dtw import Warping
from downstream.quesst14_dtw.expert import DownstreamExpert
from downstream.quesst14_dtw.search import Method, Queries
from utility.errors import DataError
from utility.metrics.detection_files import read_stdlist

PAIRS = ("dtw_a", "dtw_b", "dtw_long_query", "dtw_positive")
RUNS = ("expert_cosine", "expert_euclidean_no_norm", "expert_superb_default")
TOLERANCE = {"rtol": 1e-5, "atol": 1e-6}


def recorded(folder: Path):
    """Query, document, distance matrices by metric, outputs by settings."""
    pair = np.load(folder / "inputs.npz")
    return pair["query"], pair["doc"], np.load(folder / "outputs.npz"), json.loads((folder / "outputs.json").read_text())


@pytest.mark.parametrize("case", PAIRS)
def test_distances(golden, case):
    query, document, distances, _ = recorded(golden(f"tasks/qbe/{case}"))
    for key in distances.files:
        metric = metric_named(key.removeprefix("dist_"))
        found = metric.between(metric.prepare(query), metric.prepare(document))
        expected = distances[key]
        assert np.isnan(expected).any() == (metric.name == "cosine_neg_log" and case != "dtw_positive")
        np.testing.assert_allclose(found, np.where(np.isnan(expected), np.inf, expected), **TOLERANCE)


@pytest.mark.parametrize("case", PAIRS)
def test_scores_and_places(golden, case):
    query, document, _, outputs = recorded(golden(f"tasks/qbe/{case}"))
    checked = 0
    for settings, expected in outputs.items():
        metric, minmax, pattern, subsequence = settings.split("|")
        if pattern == "symmetric1":  # S3PRL gives NaN; refused in the config
            continue
        warping = Warping(pattern, subsequence.endswith("True"))
        queries = Queries([query], Method(metric_named(metric), warping, minmax.endswith("True")))
        if "error" in expected:
            with pytest.raises(DataError, match=r"no path|not defined"):
                queries.scores(document)
            continue
        match = queries.locate(0, document)
        np.testing.assert_allclose(match.score, expected["score"], err_msg=settings, **TOLERANCE)
        np.testing.assert_allclose(queries.scores(document), [match.score], rtol=1e-12)
        if warping.subsequence:
            assert (match.first, match.last) == (expected["first_doc_frame"], expected["last_doc_frame"]), settings
        checked += 1
    assert checked >= 20


@pytest.mark.parametrize("case", RUNS)
def test_answers_of_whole_runs(golden, tmp_path, case):
    folder = golden(f"tasks/qbe/{case}")
    params, features = json.loads((folder / "params.json").read_text()), np.load(folder / "inputs.npz")
    expert = DownstreamExpert(5, 160, params["downstream_expert"], str(tmp_path))
    records: dict[str, list] = defaultdict(list)
    for letter, names in (("q", params["query_names"]), ("d", params["doc_names"])):
        for index, name in enumerate(names):
            expert("test", [torch.from_numpy(features[f"{letter}{index}"])], [name], [letter == "q"], records=records, batch_id=0)
    outcome = expert.log_records("test", records=records, logger=None, global_step=0, batch_ids=[], total_batch_num=0)
    found = read_stdlist(tmp_path / "benchmark.stdlist.xml")
    outputs = json.loads((folder / "outputs.json").read_text())
    expected = {(query, document): said for query, documents in outputs.items() for document, said in documents.items()}
    assert found.keys() == expected.keys()
    for trial, (score, decision) in expected.items():
        assert found[trial].score == pytest.approx(float(score), abs=1.5e-4)
        assert found[trial].decision == (decision == "YES")
    (path,) = tmp_path.glob("*/benchmark.stdlist.xml")
    assert path.parent.name == "-".join(filter(None, ("test", outcome.variant)))
    assert path.read_bytes() == (tmp_path / "benchmark.stdlist.xml").read_bytes()
