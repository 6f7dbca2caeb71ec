"""Whole trainings recorded from S3PRL's runner: weights after every step, norms, scalars and files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from run_downstream import main
from utility.experiment.checkpoint import load

PLUGINS = Path(__file__).resolve().parent / "plugins"
CASES = ("adam_plain", "adamw_accumulate2_clip", "bertadam", "sgd_accumulate3")


@pytest.fixture(scope="module", params=CASES)
def recorded(request, golden, tmp_path_factory) -> tuple[Path, Path]:
    """A recorded case and the folder of our training from its initial weights, with its config."""
    case = golden(f"tasks/training/{request.param}")
    place = tmp_path_factory.mktemp(request.param)
    config = load(case / "state.pt")["Config"]
    config["downstream_expert"]["case"] = str(case)
    config["runner"]["tensorboard"] = False
    (place / "config.yaml").write_text(yaml.safe_dump(config))
    plugins = ["-u", str(PLUGINS / "recorded_upstream"), "-d", str(PLUGINS / "recorded_task")]
    status = main([*plugins, "-c", str(place / "config.yaml"), "-i", str(case / "state.pt"), "-p", str(place / "run"), "--device", "cpu"])
    assert status == 0
    return case, place / "run"


def test_weights_after_every_step(recorded):
    case, run = recorded
    expected = np.load(case / "outputs.npz")
    steps = json.loads((case / "outputs.json").read_text())["last_step"]
    for step in range(1, steps + 1):
        state = load(run / f"states-{step}.ckpt")
        ours = {**state["Downstream"], "Featurizer.weights": state["Featurizer"]["weights"]}
        for name, value in ours.items():
            reference = expected[f"step{step}_{name}"]
            np.testing.assert_allclose(value.numpy(), reference, rtol=1e-3, atol=1e-5, err_msg=f"{name} at step {step}")


def test_files_position_and_optimizer(recorded):
    case, run = recorded
    expected = json.loads((case / "outputs.json").read_text())
    assert sorted(p.name for p in run.glob("*.ckpt")) == expected["checkpoint_files"]
    state = load(run / f"states-{expected['last_step']}.ckpt")
    assert set(expected["checkpoint_top_level_keys"]) <= set(state)
    assert (state["Step"], state["Epoch"]) == (expected["last_step"], expected["last_epoch"])
    assert state["Downstream"]["best_score"].item() == pytest.approx(expected["best_score"])
    for ours, theirs in zip(state["Optimizer"]["param_groups"], expected["optimizer_param_groups"], strict=True):
        assert ours["lr"] == pytest.approx(theirs["lr"])


def test_logged_numbers(recorded):
    case, run = recorded
    expected = json.loads((case / "outputs.json").read_text())
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    ours = {(tag, line["step"]): value for line in lines for tag, value in line.items() if "/" in tag}
    for tag, value, step in expected["scalars"]:
        assert ours[tag, step] == pytest.approx(value, rel=1e-3, abs=1e-5), f"{tag} at step {step}"
    norms = {line["step"]: line["grad_norm"] for line in lines if line["split"] == "train"}
    for step, norm in norms.items():
        assert norm == pytest.approx(expected["grad_norms_before_clipping"][step - 1], rel=1e-3)


def test_s3prl_checkpoint_resumes_and_evaluates(recorded, tmp_path, capsys):
    """A checkpoint in S3PRL's own format is taken up with -e: its weights, optimizer, step and settings."""
    case, _ = recorded
    plugins = ["-u", str(PLUGINS / "recorded_upstream"), "-d", str(PLUGINS / "recorded_task")]
    override = ["-o", f"config.downstream_expert.case='{case}',,config.runner.tensorboard=False"]
    assert main(["-m", "train", "-e", str(case / "state.pt"), "-p", str(tmp_path), *plugins, *override, "--device", "cpu"]) == 0
    last = json.loads((case / "outputs.json").read_text())["last_step"]
    weights = load(tmp_path / f"states-{last}.ckpt")["Downstream"]["projector.weight"]
    expected = torch.from_numpy(np.load(case / "outputs.npz")[f"step{last}_projector.weight"])
    torch.testing.assert_close(weights, expected, rtol=1e-3, atol=1e-5)
    assert "training is complete" in capsys.readouterr().out
