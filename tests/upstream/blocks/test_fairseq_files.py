"""Layouts of fairseq checkpoints, and the expressions in which fairseq writes stacks of convolutions."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest
import torch

from upstream.blocks.fairseq_files import read_fairseq
from utility.errors import CheckpointError
from utility.networks.conv_layers import conv_layers, frames_of, least_samples
from utility.networks.weights import read_checkpoint

WEIGHTS = {"w": torch.ones(2)}


@pytest.mark.parametrize(
    ("text", "layers"),
    [
        ("[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2", [(512, 10, 5), *[(512, 3, 2)] * 4, *[(512, 2, 2)] * 2]),
        (" [(512, 10, 5), (512, 8, 4),]", [(512, 10, 5), (512, 8, 4)]),
        ("2 * [(8, 3, 1)] + ([(4, 1, 1)])", [(8, 3, 1), (8, 3, 1), (4, 1, 1)]),
        ("[[8, 3, 1]]", [(8, 3, 1)]),
        ([[8, 3, 1], (4, 2, 1)], [(8, 3, 1), (4, 2, 1)]),
    ],
)
def test_layers(text, layers):
    assert conv_layers(text, "f") == layers


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[(1, 2)]",
        "[(1, 2, 0)]",
        "[(1, 2, 3.0)]",
        "[(1, 2, True)]",
        "[(1, 2, -3)]",
        "3",
        "(1, 2, 3) + (1, 2, 3)",
        "[(1, 2, 3)] * [(1, 2, 3)]",
        "[(1, 2, 3)] * 10 ** 9",
        "[(1, 2, 3)] * 999999999",
        "[(1, 2, 3)] * 999 * 999",
        "__import__('os').system('false')",
        "[(1, 2, 3) for _ in range(3)]",
        "[(1, 2, 3)",
        "[" * 300,
        "(" * 5000 + ")" * 5000,
        "[(1,2,3)]" + "+[(1,2,3)]" * 5000,
        "[(1, 2, 3)]\x00",
        None,
        7,
    ],
)
def test_what_is_no_list_of_layers(text):
    with pytest.raises(CheckpointError, match=r"x\.pt: conv_feature_layers"):
        conv_layers(text, "x.pt: conv_feature_layers")


def test_frames_of_a_stack():
    layers = conv_layers("[(512,10,5)] + [(512,8,4)] + [(512,4,2)] * 3 + [(512,1,1)] * 2", "f")
    assert least_samples(layers) == 465
    assert [frames_of(n, layers) for n in (464, 465, 624, 625, 16000)] == [0, 1, 1, 2, 98]


def recorded(golden, case: str, file: str):
    path = golden(f"upstreams/{case}") / file
    return read_fairseq(read_checkpoint(path), path)


@pytest.mark.parametrize(
    ("case", "file", "form"),
    [
        ("wav2vec", "ckpt_fairseq_args.pt", "args"),
        ("xlsr", "ckpt_fairseq_args.pt", "args"),
        ("wav2vec2_base", "ckpt_fairseq_cfg.pt", "cfg"),
        ("data2vec_base", "ckpt_fairseq_cfg.pt", "cfg"),
        ("hubert_base", "ckpt_fairseq_cfg.pt", "cfg"),
        ("hubert_large", "ckpt_fairseq_dictconfig.pt", "cfg"),
    ],
)
def test_a_fairseq_file_says_what_its_converted_twin_says(golden, case, file, form):
    theirs, ours = recorded(golden, case, "ckpt.pt"), recorded(golden, case, file)
    assert (theirs.form, ours.form) == ("converted", form)
    assert ours.model["conv_feature_layers"] == theirs.model["conv_feature_layers"]
    assert ours.task["normalize"] is theirs.task["normalize"]
    assert set(ours.weights) == set(theirs.weights)
    assert all(torch.equal(value, theirs.weights[name]) for name, value in ours.weights.items())
    assert ours.symbols == theirs.symbols
    if form == "cfg":
        assert {key: _listed(ours.model[key]) for key in theirs.model} == {key: _listed(value) for key, value in theirs.model.items()}


def _listed(value):
    """omegaconf makes lists of tuples."""
    return list(value) if isinstance(value, tuple) else value


def test_settings_lie_in_cfg_itself_in_files_of_the_wavlm_kind(golden):
    read = recorded(golden, "wavlm_base", "ckpt.pt")
    assert read.form == "cfg" and read.model["encoder_layers"] > 0 and read.task["normalize"] is False


def test_args_go_before_cfg_and_missing_values_are_absent():
    cfg = {"model": {"_name": "m", "a": 1, "b": "???", "n": "${task.normalize}", "c": "${nowhere.x}"}, "task": {"normalize": True}}
    read = read_fairseq({"args": None, "cfg": cfg, "model": WEIGHTS}, "x.pt")
    assert read.model == {"_name": "m", "a": 1, "n": True} and read.task == {"normalize": True}
    read = read_fairseq({"args": {"a": 2}, "cfg": cfg, "model": WEIGHTS}, "x.pt")
    assert read.form == "args" and read.model == read.task == {"a": 2}


def test_a_namespace_in_a_real_file(tmp_path: Path):
    torch.save({"args": Namespace(arch="wav2vec", w2v_args=Namespace(dropout=0.5)), "model": WEIGHTS}, tmp_path / "x.pt")
    read = read_fairseq(read_checkpoint(tmp_path / "x.pt"), "x.pt")
    assert read.model == {"arch": "wav2vec", "w2v_args": {"dropout": 0.5}}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({}, "holds nothing"),
        ({"weights": WEIGHTS, "config": {}}, "holds weights, config"),
        ({"model": WEIGHTS}, "neither 'model_cfg'"),
        ({"model_weight": WEIGHTS}, "no settings under 'model_cfg'"),
        ({"model_weight": WEIGHTS, "model_cfg": 3}, "no settings under 'model_cfg', but a int"),
        ({"model_weight": {"w": 3}, "model_cfg": {}}, "no weights under 'model_weight', but a dict without tensors"),
        ({"model_weight": WEIGHTS, "model_cfg": {}, "task_cfg": 3}, "no settings under 'task_cfg', but a int"),
        ({"cfg": {"model": {}, "task": [1]}, "model": WEIGHTS}, "no settings under 'task', but a list"),
        ({"args": {"a": 1}}, "no weights under 'model', but nothing"),
        ({"cfg": [1], "model": WEIGHTS}, "no settings under 'cfg'"),
        ({"cfg": {"model": {}}, "model": []}, "no weights under 'model'"),
    ],
)
def test_other_files_are_one_sentence(content, sentence):
    with pytest.raises(CheckpointError, match=sentence) as caught:
        read_fairseq(content, "x.pt")
    assert str(caught.value).startswith("x.pt ")
