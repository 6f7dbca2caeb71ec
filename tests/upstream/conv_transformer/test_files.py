"""Checkpoints and options that do not fit: one sentence each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.upstream.conv_transformer.cases import ENTRIES
from tests.upstream.recorded import GOLDEN
from upstream.registry import build
from utility.errors import CheckpointError, UnknownNameError, UsageError
from utility.experiment.unpickle import load_foreign
from utility.networks.transformer_config import TransformerSettings

HUBERT = GOLDEN / "hubert_multilabel" / "ckpt.pt"
EVERY_LOADER = sorted(set(ENTRIES.values()))


@pytest.fixture
def changed(tmp_path) -> Callable[..., Path]:
    """A copy of HuBERT's file after a change."""

    def save(change: Callable[[dict[str, Any]], Any]) -> Path:
        content = load_foreign(HUBERT)
        change(content)
        torch.save(content, tmp_path / "changed.pt")
        return tmp_path / "changed.pt"

    return save


def refused(entry: str, path: Path, **options: Any) -> str:
    with pytest.raises(CheckpointError) as caught:
        build(entry, ckpt=str(path), **options)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("entry", EVERY_LOADER)
def test_a_truncated_and_a_foreign_file(entry, tmp_path):
    torn, foreign = tmp_path / "torn.pt", tmp_path / "foreign.pt"
    torn.write_bytes(HUBERT.read_bytes()[:5000])
    torch.save({"weights": {"a": torch.zeros(2)}}, foreign)
    assert "truncated" in refused(entry, torn)
    assert "weights" in refused(entry, foreign)


@pytest.mark.parametrize("entry", ["wav2vec2_local", "wavlm_local", "decoar2_local", "distiller_local"])
def test_no_file(entry, tmp_path):
    assert "there is no checkpoint" in refused(entry, tmp_path / "none.pt")


def test_a_folder_is_told_what_it_may_mean(tmp_path):
    assert refused("hubert_local", tmp_path).endswith("is a folder, -k takes a file")
    (tmp_path / "states-2.ckpt").touch()
    assert refused("apc_local", tmp_path).endswith(f"did you mean {tmp_path / 'states-2.ckpt'}?")
    (tmp_path / "config.json").touch()
    assert "is a folder of a Hugging Face model, which -u hf reads" in refused("hubert_local", tmp_path)


def test_missing_unknown_and_misshapen_weights_are_named(changed):
    def change(content):
        weights = content["model_weight"]
        del weights["encoder.layers.1.fc1.bias"]
        weights["encoder.layers.7.fc1.bias"] = torch.zeros(3)
        weights["layer_norm.weight"] = torch.zeros(3)

    sentence = refused("hubert_local", changed(change))
    assert "it lacks encoder.layers.1.feed_forward.intermediate_dense.bias" in sentence
    assert "unknown encoder.layers.7.feed_forward.intermediate_dense.bias" in sentence
    assert "feature_projection.layer_norm.weight is (3,), not (16,)" in sentence


def test_other_sizes_than_the_settings_say(changed):
    assert "of another shape" in refused("hubert_local", changed(lambda c: c["model_cfg"].update(encoder_ffn_embed_dim=50)))


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("encoder_attention_heads", 5, "encoder_embed_dim 32 is no multiple of encoder_attention_heads 5"),
        ("activation_fn", "gelo", "unknown activation_fn 'gelo'; did you mean 'gelu'?"),
        ("extractor_mode", "layernorm", "did you mean 'layer_norm'?"),
        ("encoder_layers", "2", "encoder_layers is '2'"),
        ("dropout", 7, "dropout is 7"),
        ("conv_feature_layers", "__import__('os')", "conv_feature_layers"),
    ],
)
def test_impossible_settings(changed, field, value, said):
    assert said in refused("hubert_local", changed(lambda c: c["model_cfg"].update({field: value})))


def test_a_fine_tuned_file_gives_its_pretrained_net(changed):
    def wrap(content):
        weights, model = content.pop("model_weight"), content.pop("model_cfg")
        content["model"] = {f"w2v_encoder.w2v_model.{name}": value for name, value in weights.items()}
        content["model"]["w2v_encoder.proj.weight"] = torch.zeros(5, 32)
        task = content.pop("task_cfg")
        content["cfg"] = {"model": {"_name": "hubert_ctc", "w2v_args": {"model": model, "task": task}}, "task": task}

    wave = [0.1 * torch.randn(1000, generator=torch.Generator().manual_seed(1))]
    with torch.no_grad():
        tuned, plain = (build("hubert_local", ckpt=str(path))(wave) for path in (changed(wrap), HUBERT))
    assert all(torch.equal(a, b) for a, b in zip(tuned["hidden_states"], plain["hidden_states"], strict=True))


def test_half_precision_weights_become_single(changed):
    def halve(content):
        content["model_weight"] = {name: value.half() for name, value in content["model_weight"].items()}

    assert {p.dtype for p in build("hubert_local", ckpt=str(changed(halve))).parameters()} == {torch.float32}


def test_options():
    path = str(HUBERT)
    with pytest.raises(UsageError, match="takes no config"):
        build("hubert_local", ckpt=path, model_config="x.yaml")
    with pytest.raises(UnknownNameError, match="did you mean 'fairseq_layers'"):
        build("hubert_local", ckpt=path, feature_selection="fairseq_layer")
    with pytest.raises(UsageError, match="needs the option ckpt"):
        build("hubert_local")
    with pytest.raises(UsageError, match="did you mean 'batch_independent'"):
        build("hubert_local", ckpt=path, batch_independant=True)


def test_layer_outputs_of_conformers_are_refused(golden):
    path = golden("upstreams/wav2vec2_conformer_rope") / "ckpt.pt"
    with pytest.raises(UsageError, match="does not exist for conformer"):
        build("wav2vec2_local", ckpt=str(path), feature_selection="fairseq_layers")


def test_a_distiller_of_an_unknown_kind(golden, tmp_path):
    content = load_foreign(golden("upstreams/distilhubert") / "ckpt.pt")
    content["Config"]["distiller"]["task_emb_type"] = "hnet"
    torch.save(content, tmp_path / "x.ckpt")
    assert "task_emb_type 'hnet' (only 'expand-last' is known)" in refused("distiller_local", tmp_path / "x.ckpt")
    content["Config"]["distiller"].update(task_emb_type="expand-last", n_tasks=None)
    torch.save(content, tmp_path / "x.ckpt")
    assert "n_tasks is None" in refused("distiller_local", tmp_path / "x.ckpt")
    content["Config"]["distiller"]["n_tasks"] = 10**7  # more than any memory holds
    torch.save(content, tmp_path / "x.ckpt")
    assert "do not fit: of another shape: 0.weight is" in refused("distiller_local", tmp_path / "x.ckpt")
    torch.save({**content, "Distiller": 7}, tmp_path / "x.ckpt")
    assert "it has a int as section 'Distiller'" in refused("distiller_local", tmp_path / "x.ckpt")


def test_decoar2_needs_its_number_of_heads(golden):
    path = golden("upstreams/decoar2") / "ckpt.pt"
    assert "no multiple of encoder_attention_heads 12" in refused("decoar2_local", path)


def test_relative_buckets_need_room():
    given = {"relative_position_embedding": True, "num_buckets": 320, "max_distance": 80}
    with pytest.raises(CheckpointError, match="num_buckets must be 4 or more and below"):
        TransformerSettings.of(given, "x.pt")
