"""The convolution + Transformer family against outputs recorded from S3PRL 0.4.18."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.upstream.conv_transformer.cases import CORE, ENTRIES, files, made
from tests.upstream.recorded import GOLDEN, Case, assert_close, manifest
from upstream.registry import build

DECOAR2_SEED = 20611  # the recipe's in golden/upstreams/manifest.json


@pytest.fixture
def case(golden, request):
    return Case(request.param, golden(f"upstreams/{request.param}"), manifest()["cases"][request.param])


def test_the_core_lies_in_the_repository():
    assert len(ENTRIES) == 20 and all((GOLDEN / name / "ckpt.pt").exists() for name in CORE)


@pytest.mark.parametrize(("case", "file"), files(), indirect=["case"])
def test_states(case, file):
    upstream = made(case.name, case.folder, file)
    case.assert_states(upstream)
    case.assert_featurizer(lambda: upstream)
    case.assert_padded(upstream)


@pytest.mark.parametrize("selection", ["fairseq_layers", "fairseq_layers_before_residual"])
@pytest.mark.parametrize("case", ["wav2vec2_base", "wav2vec2_large"], indirect=True)
def test_layer_outputs(case, selection):
    upstream = made(case.name, case.folder, feature_selection=selection)
    with torch.no_grad():
        states = upstream(case.batch("batch"))["hidden_states"]
    assert len(states) == case.described[selection]["n"]
    for index, state in enumerate(states):
        assert_close(state, case.expected(f"{selection}/batch/hidden_states/{index}"), case.described["tolerance"], selection)


@pytest.mark.parametrize("case", ["distilhubert", "distiller_prenorm"], indirect=True)
def test_distiller_without_predictions(case):
    recorded, wavs = case.described["no_pred"], case.batch("batch")
    upstream = made(case.name, case.folder)
    with torch.no_grad():
        result, whole = upstream(wavs, no_pred=True), upstream(wavs)
    assert result["last_hidden_state"] is recorded["last_hidden_state"] is None
    assert len(result["hidden_states"]) == recorded["n_hidden_states"]
    assert all(torch.equal(a, b) for a, b in zip(result["hidden_states"], whole["hidden_states"], strict=False))
    assert torch.equal(result["paper"], whole["paper"])


@pytest.mark.slow  # 85 million random numbers
@pytest.mark.parametrize("case", ["decoar2_full"], indirect=True)
def test_decoar2_of_the_published_size(case, tmp_path):
    path = tmp_path / "decoar2.pt"
    torch.save({"model": decoar2_weights(DECOAR2_SEED)}, path)
    case.assert_states(build("decoar2_local", ckpt=str(path)))


def decoar2_weights(seed: int) -> dict[str, torch.Tensor]:
    """The recorded recipe (golden/upstreams/README.md): key by key in sorted order, normal numbers scaled by the kind of weight."""
    shapes = {"post_extract_proj.weight": (768, 80), "post_extract_proj.bias": (768,), "encoder.pos_conv.0.bias": (768,)}
    shapes |= {"encoder.pos_conv.0.weight_g": (1, 1, 128), "encoder.pos_conv.0.weight_v": (768, 48, 128)}
    shapes |= {f"encoder.layer_norm.{part}": (768,) for part in ("weight", "bias")}
    for layer in range(12):
        parts = {f"self_attn.{p}_proj": (768, 768) for p in "kvqo"} | {"fc1": (3072, 768), "fc2": (768, 3072)}
        parts["self_attn.out_proj"] = parts.pop("self_attn.o_proj")
        parts |= {"self_attn_layer_norm": (768,), "final_layer_norm": (768,)}
        for part, shape in parts.items():
            shapes[f"encoder.layers.{layer}.{part}.weight"], shapes[f"encoder.layers.{layer}.{part}.bias"] = shape, shape[:1]
    return {key: scaled(key, shapes[key], seed + place) for place, key in enumerate(sorted(shapes))}


def scaled(key: str, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    numbers, last = np.random.RandomState(seed).standard_normal(shape), key.rpartition(".")[2]
    if last == "weight_g" or (last == "weight" and "norm" in key):
        numbers = 1 + 0.1 * numbers
    elif len(shape) < 2:
        numbers = 0.05 * numbers
    else:
        numbers = numbers / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(numbers.astype(np.float32))
