"""Baseline features and stft_mag against outputs recorded from S3PRL 0.4.18."""

from __future__ import annotations

import pytest

from tests.upstream.recorded import Case, manifest
from upstream.interfaces import Featurizer
from upstream.registry import build

RECORDED = manifest()["cases"]
CASES = sorted(name for name in RECORDED if name.startswith(("baseline", "stft_mag")))


def test_all_recorded_cases_are_there():
    assert len(CASES) == 13
    assert sum("featurizer" in RECORDED[name] for name in CASES) == 8
    assert sum("S3PRLUpstream" in RECORDED[name] for name in CASES) == 2


@pytest.fixture
def case(golden, request) -> Case:
    return Case(request.param, golden(f"upstreams/{request.param}"), RECORDED[request.param])


@pytest.mark.parametrize("case", CASES, indirect=True)
def test_recorded_features(case):
    config = case.folder / "config.yaml"
    upstream = build(case.described["entry"].partition("(")[0], model_config=str(config) if config.exists() else None)
    case.assert_states(upstream)
    case.assert_featurizer(lambda: upstream)
    case.assert_padded(upstream)
    if recorded := case.described.get("featurizer"):
        featurizer, wavs = Featurizer(upstream), case.batch(recorded["batch"])
        assert (featurizer.output_dim, featurizer.downsample_rate) == (recorded["output_dim"], recorded["downsample_rate"])
        assert [len(feature) for feature in featurizer(wavs, upstream(wavs))] == recorded["lengths"]
