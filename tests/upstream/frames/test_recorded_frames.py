"""APC, NPC, Mockingjay, TERA, Audio ALBERT and DeCoAR against outputs recorded from S3PRL 0.4.18."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.upstream.frames.tiny import saved
from tests.upstream.recorded import Case, assert_close, manifest
from upstream.registry import build

CASES = (
    *("apc", "vq_apc", "apc_4layer_noresidual", "npc", "npc_ae_tanh", "decoar", "decoar_layers"),
    *("mockingjay", "mockingjay_legacy", "tera", "tera_chunked", "tera_prenorm", "audio_albert"),
)
DECOAR_WIDTH, DECOAR_LAYERS, RECIPE_SEED = 1024, 4, 20511


@pytest.fixture
def case(golden, request) -> Case:
    return Case(request.param, golden(f"upstreams/{request.param}"), manifest()["cases"][request.param])


def built(case: Case, **options) -> nn.Module:
    name = case.described["entry"].partition("(")[0]
    return build(name, ckpt=str(case.folder / "ckpt.pt"), **options).eval()


def test_all_recorded_cases_of_these_models_are_compared():
    families = ("apc_local", "npc_local", "mockingjay_local", "tera_local", "audio_albert_local", "decoar_local", "decoar_layers_local")
    recorded = {name for name, described in manifest()["cases"].items() if described["entry"].partition("(")[0] in families}
    assert recorded == {*CASES, "decoar_full"}
    assert all(manifest()["cases"][name]["ckpt_files"] == ["ckpt.pt"] for name in CASES)


@pytest.mark.parametrize("case", CASES, indirect=True)
def test_states_sum_of_layers_and_padded_interface_are_as_recorded(case):
    upstream = built(case)
    case.assert_states(upstream)
    case.assert_featurizer(lambda: upstream)
    case.assert_padded(upstream)


@pytest.mark.parametrize("case", CASES, indirect=True)
def test_batch_independent_mode_keeps_the_recorded_states_of_single_utterances(case):
    upstream = built(case, batch_independent=True)
    assert upstream.batch_independent
    for name in ("single", "short"):
        with torch.no_grad():
            states = upstream(case.batch(name))["hidden_states"]
        for index, state in enumerate(states):
            key = f"{name}/hidden_states/{index}"
            assert_close(state, case.expected(key), case.described["tolerance"], f"{case.name} {key}")


def recipe(seed: int) -> dict[str, torch.Tensor]:
    """DeCoAR's weights of the published size by the recipe of the recording (golden README)."""
    width = DECOAR_WIDTH
    shapes = {"post_extract_proj.weight": (width, 80), "post_extract_proj.bias": (width,)}
    for way, layer, part in itertools.product(("forward", "backward"), range(DECOAR_LAYERS), ("ih", "hh")):
        shapes[f"{way}_lstm.weight_{part}_l{layer}"] = (4 * width, width)
        shapes[f"{way}_lstm.bias_{part}_l{layer}"] = (4 * width,)
    weights = {}
    for index, name in enumerate(sorted(shapes)):
        shape = shapes[name]
        noise = np.random.RandomState(seed + index).standard_normal(shape)
        weights[name] = torch.from_numpy((0.05 * noise if len(shape) == 1 else noise / np.sqrt(shape[1])).astype(np.float32))
    return weights


@pytest.mark.slow
@pytest.mark.parametrize("case", ["decoar_full"], indirect=True)
def test_decoar_of_the_published_size(case, tmp_path):
    ckpt = saved({"model": recipe(RECIPE_SEED)}, tmp_path / "checkpoint_decoar.pt")
    upstream = build("decoar_local", ckpt=ckpt).eval()
    Path(ckpt).unlink()  # 268 MB
    case.assert_states(upstream)
