"""Equal error rate and detection cost against S3PRL's recorded values, and where they are plain to see."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from utility.errors import DataError
from utility.metrics.verification import verification_scores

SETTINGS = {
    "minDCF_p0.01(value,threshold)": {},
    "minDCF_p0.05": {"p_target": 0.05},
    "minDCF_p0.001_cmiss10": {"p_target": 0.001, "c_miss": 10.0},
}


@pytest.mark.parametrize("number", range(12))
def test_recorded_values(golden, number: int):
    folder = golden("tasks/metrics/eer_mindcf")
    params, outputs = (json.loads((folder / f"{name}.json").read_text()) for name in ("params", "outputs"))
    given, expected = params["sets"][number], outputs[number]
    if "error" in expected["EER(eer,threshold)"]:
        with pytest.raises(DataError, match="error rates need trials of both kinds"):
            verification_scores(given["labels"], given["scores"])
        return
    for name, settings in SETTINGS.items():
        found = verification_scores(given["labels"], given["scores"], **settings)
        assert [found.eer, found.threshold] == pytest.approx(expected["EER(eer,threshold)"], rel=1e-6, abs=1e-6)
        assert [found.min_dcf, found.dcf_threshold] == pytest.approx(expected[name], rel=1e-6, abs=1e-6)


def test_of_known_distributions():
    """Two normal distributions 2 apart cross at 1, where both have 15.87 % beyond."""
    rng, n = np.random.default_rng(0), 200_000
    found = verification_scores([1] * n + [0] * n, [*rng.normal(2, 1, n), *rng.normal(0, 1, n)])
    assert found.eer == pytest.approx(0.5 * math.erfc(1 / math.sqrt(2)), abs=3e-3)
    assert found.threshold == pytest.approx(1, abs=2e-2)


@pytest.mark.parametrize(
    ("labels", "scores", "sentence"),
    [
        ([], [], "of 0 trials 0 are targets"),
        ([1, 1], [0.5, 0.6], "of 2 trials 2 are targets"),
        ([1, 0], [0.5, math.nan], "1 of 2 scores are not finite"),
    ],
)
def test_trials_that_cannot_be_scored(labels: list, scores: list, sentence: str):
    with pytest.raises(DataError, match=sentence):
        verification_scores(labels, scores)
