"""torchaudio's models, holding the weights of recorded cases in a bundle of ours, against S3PRL's recorded outputs; and what goes wrong."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
import urllib.error
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.upstream.recorded import Case, assert_close, manifest
from upstream.registry import build
from utility.errors import CheckpointError, MissingDependencyError, UnknownNameError, UsageError
from utility.features.waves import WaveError
from utility.networks.transformer_weights import body_weights
from utility.networks.weights import read_checkpoint

torchaudio = pytest.importorskip("torchaudio")
pipelines = pytest.importorskip("torchaudio.pipelines")

CLOSE = {"rtol": 1e-4, "atol": 2e-5}
CASES = ("wav2vec2_base", "wav2vec2_large", "hubert_multilabel", "wavlm_base", "wavlm_large")
CONVOLUTIONS = [(16, 10, 5), *[(16, 3, 2)] * 4, *[(16, 2, 2)] * 2]
WEIGHT_NORM = ("parametrizations.weight.original0", "weight_g"), ("parametrizations.weight.original1", "weight_v")
every = pytest.mark.parametrize("case", CASES, indirect=True)


class Tiny(pipelines.Wav2Vec2Bundle):
    """A bundle whose weights are at hand.

    Args:
        weights: a state dict, or the error that getting it raises.
    """

    def __init__(self, params: dict[str, Any], normalize: bool, kind: str, weights: dict[str, Tensor] | Exception):
        super().__init__("tiny.pt", params, 16000, normalize, kind)
        self.weights = weights

    def _get_state_dict(self, dl_kwargs: dict[str, Any]) -> dict[str, Tensor]:
        assert dl_kwargs["weights_only"] is True
        if isinstance(self.weights, Exception):
            raise self.weights
        return self.weights


def settings(config: dict[str, Any], wavlm: bool) -> dict[str, Any]:
    """torchaudio's names of the settings of a recorded case."""
    relative = {"encoder_num_buckets": config["num_buckets"], "encoder_max_distance": config["max_distance"]} if wavlm else {}
    return {
        "extractor_mode": "group_norm" if config["extractor_mode"] == "default" else "layer_norm",
        "extractor_conv_layer_config": CONVOLUTIONS,
        "extractor_conv_bias": config["conv_bias"],
        "encoder_embed_dim": config["encoder_embed_dim"],
        "encoder_projection_dropout": 0.1,
        "encoder_pos_conv_kernel": config["conv_pos"],
        "encoder_pos_conv_groups": config["conv_pos_groups"],
        "encoder_num_layers": config["encoder_layers"],
        "encoder_num_heads": config["encoder_attention_heads"],
        "encoder_attention_dropout": 0.1,
        "encoder_ff_interm_features": config["encoder_ffn_embed_dim"],
        "encoder_ff_interm_dropout": 0.0,
        "encoder_dropout": 0.1,
        "encoder_layer_norm_first": config["layer_norm_first"],
        "encoder_layer_drop": 0.9,
        "aux_num_out": None,
        **relative,
    }


def named(weights: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """fairseq's weights by torchaudio's names (specs/upstreams.md, section 13.4)."""
    found = {}
    for name, value in body_weights(weights).items():
        name = re.sub(r"^encoder\.", "encoder.transformer.", name)
        name = re.sub(r"^feature_projection\.", "encoder.feature_projection.", name)
        for new, old in WEIGHT_NORM:
            name = name.replace(new, old) if name.replace(new, old) in wanted else name
        found[name] = value
    for name in [name for name in wanted if ".attention.attention." in name]:
        layer, _, part = name.partition("attention.attention.")
        kind = part.rpartition("_")[2].rpartition(".")[2]
        if part.startswith("in_proj"):
            found[name] = torch.cat([found.pop(f"{layer}attention.{p}_proj.{kind}") for p in "qkv"])
        else:
            found[name] = found.pop(f"{layer}attention.out_proj.{kind}")
    return found


def bundle_of(case: Case) -> Tiny:
    content, wavlm = read_checkpoint(case.folder / "ckpt.pt"), case.name.startswith("wavlm")
    config = content["cfg"] if wavlm else content["model_cfg"]
    task = config if wavlm else content["task_cfg"]
    params, kind = settings(config, wavlm), "WavLM" if wavlm else "Wav2Vec2"
    wanted = (torchaudio.models.wavlm_model if wavlm else torchaudio.models.wav2vec2_model)(**params).state_dict()
    weights = named(content["model" if wavlm else "model_weight"], wanted)
    return Tiny(params, bool(task["normalize"]), kind, weights)


@pytest.fixture
def case(golden, request, monkeypatch) -> Case:
    """A recorded case, and TINY among torchaudio's bundles."""
    found = Case(request.param, golden(f"upstreams/{request.param}"), manifest()["cases"][request.param])
    monkeypatch.setattr(pipelines, "TINY", bundle_of(found), raising=False)
    return found


def waves(*lengths: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [0.1 * torch.randn(n, generator=generator) + 0.02 for n in lengths]


@every
def test_states_are_those_recorded_from_s3prl(case):
    """HuBERT's and WavLM's padded batches have another mask there; single waveforms are the same."""
    upstream = build("torchaudio:TINY")
    if case.name.startswith("wav2vec2"):
        case.assert_states(upstream)
        case.assert_featurizer(lambda: upstream)
        return
    for batch in ("single", "short"):
        with torch.no_grad():
            states = upstream(case.batch(batch))["hidden_states"]
        assert len(states) == 3
        for index, state in enumerate(states):
            assert_close(state, case.expected(f"{batch}/hidden_states/{index}"), case.described["tolerance"], batch)


@pytest.mark.parametrize("case", ["wav2vec2_base"], indirect=True)
def test_the_head_of_a_fine_tuned_bundle_is_left_off(case, monkeypatch):
    plain = build("torchaudio:TINY")
    bundle = pipelines.TINY
    weights = {**bundle.weights, "aux.weight": torch.ones(5, bundle._params["encoder_embed_dim"]), "aux.bias": torch.ones(5)}
    monkeypatch.setattr(pipelines, "TINY", Tiny({**bundle._params, "aux_num_out": 5}, False, "Wav2Vec2", weights))
    tuned = build("torchaudio:TINY")
    assert list(tuned.state_dict()) == list(plain.state_dict())
    with torch.no_grad():
        assert torch.equal(tuned(waves(2000))["last_hidden_state"], plain(waves(2000))["last_hidden_state"])


@every
def test_layers_are_those_of_torchaudio(case):
    upstream, wav = build("torchaudio", ckpt="TINY"), waves(4000)
    with torch.no_grad():
        theirs, _ = pipelines.TINY.get_model(dl_kwargs={"weights_only": True}).extract_features(wav[0][None])
        ours = upstream(wav)["hidden_states"][1:]
    torch.testing.assert_close(list(ours[:-1]), theirs[:-1])


@every
def test_padding_changes_nothing_where_batches_are_independent(case):
    upstream, batch = build("torchaudio:TINY", batch_independent=True), waves(6100, 2600, 4520, 2600, 800)
    assert upstream.batch_independent and not build("torchaudio:TINY").batch_independent
    with torch.no_grad():
        together, alone = upstream(batch), [upstream([wav]) for wav in batch]
    for index, (n, one) in enumerate(zip(together["lengths"].tolist(), alone, strict=True)):
        assert n == one["last_hidden_state"].size(1)
        for state, reference in zip(together["hidden_states"], one["hidden_states"], strict=True):
            torch.testing.assert_close(state[index, :n], reference[0], **CLOSE)


@pytest.mark.parametrize("case", ["wavlm_large"], indirect=True)
def test_wavlm_has_a_mask_that_torchaudio_lacks(case):
    upstream, batch = build("torchaudio:TINY"), waves(6100, 2600)
    with torch.no_grad():
        item, alone = upstream(batch)["hidden_states"], upstream(batch[1:])["hidden_states"]
    for state, reference in zip(item, alone, strict=True):
        torch.testing.assert_close(state[1, : reference.size(1)], reference[0], **CLOSE)


@every
def test_train_mode_keeps_the_states_and_every_weight_learns(case):
    before = torch.get_rng_state()
    upstream, batch = build("torchaudio:TINY"), waves(2600, 1900)
    assert torch.equal(before, torch.get_rng_state()) and not upstream.training
    with torch.no_grad():
        states = upstream(batch)["hidden_states"]
    assert not any(state.requires_grad for state in states)
    for _ in range(4):
        result = upstream.train()(batch)
        assert [state.shape for state in result["hidden_states"]] == [state.shape for state in states]
    sum(state.square().mean() for state in result["hidden_states"]).backward()
    assert [name for name, p in upstream.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("case", ["hubert_multilabel", "wavlm_large"], indirect=True)
def test_short_long_and_too_short_waveforms(case):
    upstream = build("torchaudio:TINY")
    with torch.no_grad():
        assert upstream(waves(800))["lengths"].tolist() == [2]
        assert abs(upstream(waves(16000 * 60))["last_hidden_state"].size(1) - 3000) <= 1
    with pytest.raises(WaveError, match=r"item 1 .*, 400 are needed for one frame"):
        upstream(waves(500, 399))


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        (urllib.error.URLError("no network"), r"the torchaudio bundle TINY are not in .* and cannot be downloaded: .*no network"),
        (pickle.UnpicklingError("Weights only load failed"), r"TINY in .* are damaged: Weights only load failed"),
        ({}, r"TINY in .* are damaged: Error\(s\) in loading state_dict .* Missing key"),
    ],
)
@pytest.mark.parametrize("case", ["hubert_multilabel"], indirect=True)
def test_weights_that_cannot_be_had(case, weights, sentence):
    pipelines.TINY.weights = weights
    with pytest.raises(CheckpointError, match=sentence) as caught:
        build("torchaudio:TINY")
    assert "\n" not in str(caught.value)


def test_names_and_options():
    with pytest.raises(UnknownNameError, match=r"unknown torchaudio bundle 'HUBERT_BAES'; did you mean 'HUBERT_BASE'"):
        build("torchaudio:HUBERT_BAES")
    with pytest.raises(UsageError, match=r"takes no config \(-g c.yaml\)"):
        build("torchaudio:HUBERT_BASE", model_config="c.yaml")
    with pytest.raises(UsageError, match=r"needs the option ckpt"):
        build("torchaudio")


def test_without_torchaudio(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchaudio.pipelines", None)
    with pytest.raises(MissingDependencyError, match=r"needs the package 'torchaudio'"):
        build("torchaudio:HUBERT_BASE")


def test_torchaudio_is_imported_when_a_bundle_is_built_alone(repo):
    code = "import sys, upstream.torchaudio_bundle.expert; sys.exit('torchaudio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=repo, check=False).returncode == 0
