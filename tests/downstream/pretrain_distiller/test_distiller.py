"""Distillation learns, its checkpoint is an upstream, and what cannot be is one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from run_downstream import main
from tests.downstream.pretraining.layouts import DATA, UPSTREAM, folder, override, sound
from tests.upstream.recorded import GOLDEN
from upstream.registry import build
from utility.experiment.checkpoint import load
from utility.networks.transformer_weights import body_weights, fairseq_weights

TEACHER = ("-u", "hubert_local", "-k", str(GOLDEN / "hubert_multilabel/ckpt.pt"))
DROPOUTS = ("", "attention_", "activation_")
RUNNER = "config.runner.tensorboard=False,,config.runner.fp16=False,,config.runner.log_step=20,,config.optimizer={'name':'Adam','lr':3e-3}"


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return folder(tmp_path_factory.mktemp("sounds"), train=12, dev=4)


def train(root: Path, place: Path, steps: int, *more: str, teacher: tuple[str, ...] = TEACHER) -> int:
    periods = ",,".join(f"config.runner.{name}={steps}" for name in ("total_steps", "save_step"))
    options = [
        RUNNER,
        periods,
        f"config.runner.eval_step={max(1, steps // 4)}",
        f"{DATA}.num_workers=0",
        override(root, "distiller"),
        *more,
    ]
    return main([*teacher, "-d", "pretrain_distiller", "-p", str(place), "-o", ",,".join(options), "--device", "cpu"])


def test_a_checkpoint_is_an_upstream_with_the_students_weights(root, tmp_path):
    assert train(root, tmp_path, 2) == 0
    upstream, state = build("distiller_local", ckpt=str(tmp_path / "dev-best.ckpt")), load(tmp_path / "dev-best.ckpt")["Downstream"]
    own = {name: value for name, value in state.items() if name.startswith(("net.", "output_layer."))}
    assert own.keys() == upstream.state_dict().keys()
    assert all(torch.equal(value, own[name]) for name, value in upstream.state_dict().items())


@pytest.mark.slow
def test_the_student_learns_what_the_teacher_says(tmp_path):
    """On another sound its predictions are nearer to the teacher's states than the best constant ones are."""
    sounds, certain = folder(tmp_path / "sounds", train=40, dev=4), [f"{UPSTREAM}.distiller.{name}dropout=0.0" for name in DROPOUTS]
    assert train(sounds, tmp_path / "run", 300, f"{DATA}.train_batch_size=4", *certain) == 0
    student, teacher = build("distiller_local", ckpt=str(tmp_path / "run/dev-best.ckpt")).eval(), build(TEACHER[1], ckpt=TEACHER[3]).eval()
    wav = torch.from_numpy(sound(0.8, 99))
    with torch.no_grad():
        predicted, wanted = student([wav])["hidden_states"][-2:], teacher([wav])["hidden_states"][1:3]
    for ours, theirs in zip(predicted, wanted, strict=True):
        error, constant = (float((theirs - answer).abs().mean()) for answer in (ours, theirs.median(1, keepdim=True).values))
        print(f"error {error:.3f}, best constant {constant:.3f}")
        assert error < 0.9 * constant


def test_the_student_begins_with_the_teachers_first_layers(root, tmp_path):
    for flag, names in (("init_teacher_conv_layers", "feature_extractor."), ("init_teacher_encoder_layers", "encoder.layers.0.")):
        place = tmp_path / flag
        assert train(root, place, 1, "config.optimizer.lr=1e-12", f"{UPSTREAM}.distiller.{flag}=False") == 0
        state, teacher = load(place / "states-1.ckpt")["Downstream"], build(TEACHER[1], ckpt=TEACHER[3]).model.state_dict()
        own = {name.removeprefix("net.model."): value for name, value in state.items() if name.startswith("net.model.")}
        alike = {name for name, value in own.items() if name in teacher and torch.allclose(value, teacher[name], atol=1e-9)}
        left_out = {name for name in alike if name.startswith(names) and name.endswith("weight") and "norm" not in name}
        assert not left_out
        assert {name for name in own if name.startswith(("feature_extractor.", "encoder.")) and not name.startswith(names[:8])} <= alike


@pytest.mark.parametrize("case", ["distilhubert", "distiller_prenorm"])
def test_names_lead_there_and_back(case, golden):
    """Also with the layer norms of each convolution."""
    student = build("distiller_local", ckpt=str(golden(f"upstreams/{case}") / "ckpt.pt"))
    state = student.net.model.state_dict()
    again = body_weights(fairseq_weights(state))
    assert again.keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in again.items())


FAULTS = [
    ((f"{UPSTREAM}.distiller.pred_layer_id=[1,7]",), TEACHER, "the states [1, 7] are needed, but 'hidden_states' of upstream hubert_local"),
    ((f"{UPSTREAM}.distiller.n_tasks=3",), TEACHER, "n_tasks is 3, but pred_layer_id has 2 layers"),
    ((f"{UPSTREAM}.distiller.final_dim=16",), TEACHER, "final_dim is 16, but the states of the teacher are 32 wide"),
    ((f"{UPSTREAM}.distiller.loss_type=l2",), TEACHER, "loss_type must be l1, not 'l2'"),
    ((f"{UPSTREAM}.distiller.encoder_layer=2",), TEACHER, "encoder_layers"),
    ((f"{UPSTREAM}.distiller.activation_fn=geloo",), TEACHER, "unknown activation_fn 'geloo'; did you mean 'gelu'?"),
    ((f"{UPSTREAM}.distiller.extractor_conv_feature_layers='[(16,10,5)]'",), TEACHER, "frames of 5 samples, but those of the teacher"),
    ((f"{UPSTREAM}.distiller.final_dim=240",), ("-u", "fbank"), "frames of 320 samples, but those of the teacher have 160"),
]


def test_the_teacher_is_not_trained(root, tmp_path, capsys):
    assert train(root, tmp_path, 1, teacher=(*TEACHER, "-f")) == 2
    assert "pretrain_distiller trains a network of its own" in capsys.readouterr().err


@pytest.mark.parametrize(("more", "teacher", "sentence"), FAULTS, ids=[fault[2][:40] for fault in FAULTS])
def test_what_cannot_be_is_one_sentence(more, teacher, sentence, root, tmp_path, capsys):
    assert train(root, tmp_path, 1, *more, teacher=teacher) == 2
    assert sentence in capsys.readouterr().err
