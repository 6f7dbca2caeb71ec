"""``-i`` gives a new training the weights of another one, and none of its memory."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from downstream.pipeline import Pipeline
from run_downstream import TASKS, main
from tests.support import toys
from upstream import registry
from utility.experiment.checkpoint import load
from utility.experiment.command_line import parse
from utility.experiment.experiment import open_experiment
from utility.training.distributed import Team

UNBEATEN = 10.0  # no accuracy, and no negative loss, is better
EXAMPLE = ["-u", "mel", "-d", "example", "--device", "cpu", "-o"]
FEW = (
    "config.runner.total_steps=2,,config.runner.eval_step=2,,config.runner.save_step=2,,config.runner.log_step=1,,config.runner.tensorboard=False,,"
    "config.downstream_expert.datarc.sizes={'train':8,'dev':60,'test':2},,config.downstream_expert.datarc.num_workers=0,,"
    "config.runner.eval_dataloaders=['dev']"
)


def with_best_score(source: Path, target: Path, score: float) -> Path:
    """A copy of a checkpoint that says its run had reached this score."""
    state = load(source)
    state["Downstream"]["best_score"] = torch.tensor([score])
    torch.save(state, target)
    return target


def test_a_new_training_of_the_example_finds_its_own_best(tmp_path):
    assert main(["-p", str(tmp_path / "first"), *EXAMPLE, FEW]) == 0
    init = with_best_score(tmp_path / "first" / "states-2.ckpt", tmp_path / "init.ckpt", UNBEATEN)
    assert main(["-p", str(tmp_path / "second"), "-i", str(init), *EXAMPLE, FEW]) == 0
    state = load(tmp_path / "second" / "states-2.ckpt")
    assert state["Downstream"]["best_score"] < UNBEATEN
    assert state["Step"] == 2
    assert (tmp_path / "second" / "dev-best.ckpt").exists() == (state["Downstream"]["best_score"].item() > 0)
    assert main(["-m", "train", "-e", str(init), "-p", str(tmp_path / "on"), "-o", "config.runner.total_steps=3"]) == 0
    assert load(tmp_path / "on" / "states-3.ckpt")["Downstream"]["best_score"] == UNBEATEN  # a resume remembers


def test_inference_takes_the_weights(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["-p", "run", *EXAMPLE, FEW]) == 0
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 20000), 16000)
    words, given, answers = ["-m", "inference", "-t", "a.wav", "--device", "cpu"], ["-u", "mel", "-d", "example", "-n", "x"], []
    for how in (["-e", "run"], ["-i", "run", *given], ["-i", "run/states-2.ckpt", *given]):
        capsys.readouterr()
        assert main([*words, *how]) == 0
        answers.append(capsys.readouterr().out)
    assert len(json.loads(answers[0])["probabilities"]) == 5
    assert answers[1:] == answers[:1] * 2
    for incomplete in (given, ["-i", "run", "-d", "example", "-n", "x"]):
        assert main([*words, *incomplete]) == 2
        assert "inference needs a trained checkpoint: -e CHECKPOINT_OR_FOLDER, or the weights of one with -i" in capsys.readouterr().err


@pytest.fixture(scope="module")
def toy_checkpoint(uninterrupted, tmp_path_factory) -> Path:
    """Of a task that keeps its history of evaluations, beside a best score and statistics of batch normalisation."""
    source = uninterrupted("toy_dealt_task") / "states-17.ckpt"
    return with_best_score(source, tmp_path_factory.mktemp("init") / "init.ckpt", UNBEATEN)


def build(place: Path, mode: str, how: str, checkpoint: Path) -> torch.nn.Module:
    """The task as the Runner builds it with this checkpoint."""
    config = toys.write_config(place / "config.yaml")
    words = ["-m", mode, how, str(checkpoint), "-c", str(config), "-p", str(place / "run"), "--device", "cpu"]
    words += toys.plugins("toy_dealt_task")
    experiment = open_experiment(parse(words, list, list), Team(), TASKS, registry.entries(registry.ROOT))
    return Pipeline(experiment, "cpu", training=mode == "train").downstream


@pytest.mark.parametrize(
    ("mode", "how", "remembers"),
    [("train", "-i", False), ("train", "-e", True), ("evaluate", "-i", True), ("evaluate", "-e", True)],
)
def test_weights_and_statistics_stay_and_the_memory_of_evaluations_does_not(tmp_path, toy_checkpoint, mode, how, remembers):
    stored = load(toy_checkpoint)["Downstream"]
    task = build(tmp_path, mode, how, toy_checkpoint)
    for name, value in task.state_dict().items():
        if name.startswith("model."):
            assert torch.equal(value, stored[name]), name
    assert stored["model.1.num_batches_tracked"] > 0
    assert (task.best_score.item(), task.history) == ((UNBEATEN, stored["_extra_state"]["history"]) if remembers else (0.0, []))


def test_a_task_as_s3prls_users_write_them_forgets_its_best_score(make_toy, uninterrupted, tmp_path):
    init = with_best_score(uninterrupted() / "states-17.ckpt", tmp_path / "init.ckpt", UNBEATEN)
    toy = make_toy("toy_task", "-i", str(init))
    toy.finish()
    assert (toy.folder / "dev-best.ckpt").exists()
    assert load(toy.folder / "dev-best.ckpt")["Downstream"]["best_score"] < UNBEATEN
