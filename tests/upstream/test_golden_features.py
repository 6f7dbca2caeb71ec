"""Baseline features and stft_mag against outputs recorded from S3PRL 0.4.18."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from upstream.blocks.waves import pad_waves
from upstream.interfaces import Featurizer
from upstream.padded import PaddedUpstream
from upstream.registry import build

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "upstreams"
MANIFEST = json.loads((GOLDEN / "features.json").read_text(encoding="utf-8"))
CASES = sorted(MANIFEST["cases"])
FEATURIZED = [name for name in CASES if "featurizer" in MANIFEST["cases"][name]]
PADDED = [name for name in CASES if "S3PRLUpstream" in MANIFEST["cases"][name]]


def test_all_recorded_cases_are_there():
    assert len(CASES) == 13 and len(FEATURIZED) == 8 and len(PADDED) == 2


@pytest.fixture(scope="module")
def inputs() -> dict[str, torch.Tensor]:
    with np.load(GOLDEN / "inputs.npz") as file:
        return {name: torch.from_numpy(file[name]) for name in file}


@pytest.fixture
def recorded(golden, request):
    """The case's manifest entry, its arrays and the upstream."""
    folder, case = golden(f"upstreams/{request.param}"), MANIFEST["cases"][request.param]
    config = folder / "config.yaml"
    with np.load(folder / "expected.npz") as file:
        arrays = dict(file)
    return case, arrays, build(case["entry"].partition("(")[0], model_config=str(config) if config.exists() else None)


def batch(inputs, name: str) -> list[torch.Tensor]:
    return [inputs[wav] for wav in MANIFEST["inputs"]["batches"][name]]


def assert_close(ours: torch.Tensor, theirs: np.ndarray, tolerance: dict[str, float]) -> None:
    assert tuple(ours.shape) == theirs.shape
    error, size = np.abs(ours.numpy() - theirs), tolerance["rtol"] * np.abs(theirs)
    assert (error <= tolerance["atol"] + size).all(), f"off by up to {error.max()}"
    most = tolerance.get("atol_for_99.9_percent", tolerance["atol"])
    assert (error <= most + size).mean() >= 0.999, f"more than 0.1 % is off by over {most}"


@pytest.mark.parametrize("recorded", CASES, indirect=True)
def test_states(recorded, inputs):
    case, arrays, upstream = recorded
    assert upstream.get_downsample_rates("hidden_states") == case["downsample_rate"]
    for name in case["batches"]:
        result = upstream(batch(inputs, name))
        assert len(result["hidden_states"]) == 1
        assert_close(result["hidden_states"][0], arrays[f"{name}/hidden_states/0"], case["tolerance"])
        last = result["last_hidden_state"]
        assert (last[0] if case["entry"].startswith("stft_mag") else last) is result["hidden_states"][0]


@pytest.mark.parametrize("recorded", FEATURIZED, indirect=True)
def test_featurizer(recorded, inputs):
    case, arrays, upstream = recorded
    wavs = batch(inputs, case["featurizer"]["batch"])
    featurizer = Featurizer(upstream)
    assert (featurizer.output_dim, featurizer.downsample_rate) == (case["featurizer"]["output_dim"], case["featurizer"]["downsample_rate"])
    features = featurizer(wavs, upstream(wavs))
    assert [len(feature) for feature in features] == case["featurizer"]["lengths"]
    for index, feature in enumerate(features):
        assert_close(feature, arrays[f"featurizer/weighted_sum/{index}"], case["tolerance"])


@pytest.mark.parametrize("recorded", PADDED, indirect=True)
def test_padded_interface(recorded, inputs):
    case, arrays, upstream = recorded
    for name, recorded_batch in case["S3PRLUpstream"].items():
        lengths = torch.tensor(recorded_batch["wavs_len"])
        key = f"S3PRLUpstream/{name}/"
        padded = torch.from_numpy(arrays[key + "wavs"]) if key + "wavs" in arrays else pad_waves(batch(inputs, name))
        states, frames = PaddedUpstream(upstream)(padded, lengths)
        assert frames[0].tolist() == recorded_batch["hs_len"]
        assert_close(states[0], arrays[key + "hs/0"], case["tolerance"])
