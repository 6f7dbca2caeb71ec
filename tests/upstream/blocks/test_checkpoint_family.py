"""A checkpoint is read by the entry of its own family alone, wherever it says of which it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.upstream.conv_transformer.cases import ENTRIES, files
from upstream.blocks.checkpoint_family import TITLES, check_family, family_of
from upstream.blocks.fairseq_files import FairseqModel, read_fairseq
from upstream.registry import build
from utility.errors import CheckpointError
from utility.networks.weights import read_checkpoint

WEIGHTS = {"encoder.layer_norm.weight": torch.ones(2)}
OWN = {name: entry.rsplit("_", 1)[0] for name, entry in ENTRIES.items()}


def read(content: dict, **weights: object) -> FairseqModel:
    return read_fairseq({**content, "model": {**WEIGHTS, **weights}}, "x.pt")


def converted(model: dict, **more: object) -> FairseqModel:
    return read_fairseq({"model_cfg": model, "task_cfg": {}, "model_weight": WEIGHTS, **more}, "x.pt")


@pytest.mark.parametrize(("case", "file"), [(name, file) for name, file in files() if OWN[name] in TITLES])
def test_every_recorded_file_says_of_which_family_it_is(case, file, golden):
    path = golden(f"upstreams/{case}") / file
    assert family_of(read_fairseq(read_checkpoint(path), path)) == OWN[case]


@pytest.mark.parametrize("entry", [f"{family}_local" for family in TITLES if family != "hubert"])
def test_another_entry_refuses_it_and_names_its_own(entry, golden):
    path = golden("upstreams/hubert_multilabel") / "ckpt.pt"
    with pytest.raises(CheckpointError, match=r"ckpt\.pt is a HuBERT checkpoint, use -u hubert_local"):
        build(entry, ckpt=str(path))


def test_the_weights_tell_where_no_name_does(golden, tmp_path):
    """Without this, HuBERT's padding mask met wav2vec 2.0's weights."""
    content = read_checkpoint(golden("upstreams/wav2vec2_deepposconv") / "ckpt.pt")
    del content["model_cfg"]["_name"], content["task_cfg"]["_name"]
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=r"is a wav2vec 2\.0 checkpoint, use -u wav2vec2_local"):
        build("hubert_local", ckpt=str(tmp_path / "x.pt"))


@pytest.mark.parametrize(
    ("file", "family"),
    [
        (read({"args": {"arch": "wav2vec2"}}), "wav2vec2"),
        (read({"args": {"arch": "wav2vec_ctc", "w2v_args": {"arch": "hubert", "task": "hubert_pretraining"}}}), "hubert"),
        (read({"cfg": {"model": {"_name": "wav2vec_ctc", "w2v_args": {"model": {"_name": "data2vec_audio"}}}}}), "data2vec"),
        (read({"cfg": {"model": {"_name": "wav2vec_ctc", "w2v_args": {"task": {"_name": "hubert_pretraining"}}}}}), "hubert"),
        (read({"cfg": {"model": {"_name": "m"}, "task": {"_name": "hubert_pretraining"}}}), "hubert"),
        (read({"cfg": {"model": {"_name": "contentvec"}}}), "hubert"),
        (read({"cfg": {"model": {"_name": "m"}}}, _ema={}), "data2vec"),
        (read({"cfg": {"model": {"_name": "m"}}}, label_embs_concat=torch.ones(2)), "hubert"),
        (read({"cfg": {"model": {"_name": "m"}}}, **{"quantizer.vars": torch.ones(2)}), "wav2vec2"),
        (read({"cfg": {"relative_position_embedding": True}}), "wavlm"),
        (read({"cfg": {"model": {"_name": "m"}}}, **{"encoder.layers.0.self_attn.grep_a": torch.ones(2)}), "wavlm"),
        (read({"cfg": {"encoder_layers": 2}}, label_embs_concat=torch.ones(2)), "unispeech_sat"),
        (read({"cfg": {"encoder_layers": 2, "_name": "wav2vec2"}}), "wav2vec2"),
        (converted({"average_top_k_layers": 8}), "data2vec"),
        (converted({}, dictionaries_symbols=[["a"]]), "hubert"),
    ],
)
def test_each_thing_that_tells(file, family):
    assert family_of(file) == family


@pytest.mark.parametrize(
    "file",
    [converted({"encoder_layers": 2}), read({"args": {"arch": "wav2vec_ctc"}}), read({"cfg": {"encoder_layers": 2, "_name": "hubert"}})],
)
def test_a_file_that_says_nothing_is_let_pass(file):
    assert family_of(file) is None
    for family in TITLES:
        check_family(file, family, Path("x.pt"))
