"""The Runner on a CUDA device; needs nothing but one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from run_downstream import main
from utility.experiment.checkpoint import load

TINY = (
    "config.runner.total_steps=6,,config.runner.eval_step=3,,config.runner.save_step=3,,config.runner.log_step=2,,config.runner.max_keep=9,,"
    "config.runner.tensorboard=False,,config.downstream_expert.datarc.sizes={'train':12,'dev':4,'test':4}"
)
pytestmark = pytest.mark.gpu


def train(folder: Path, *flags: str, more: str = "") -> dict:
    assert main(["-u", "fbank", "-d", "example", "-p", str(folder), "-o", TINY + more, "--device", "cuda", *flags]) == 0
    return load(folder / "states-6.ckpt")


@pytest.mark.parametrize("more", ["", ",,config.runner.fp16=True", ",,config.runner.amp=bf16"], ids=["fp32", "fp16", "bf16"])
def test_a_resumed_training_ends_equal(tmp_path, more):
    whole = train(tmp_path, more=more)
    assert main(["-m", "train", "-e", str(tmp_path / "states-3.ckpt"), "--device", "cuda"]) == 0
    resumed = load(tmp_path / "states-6.ckpt")
    for name, value in whole["Downstream"].items():
        assert torch.isfinite(value).all()
        assert torch.equal(value, resumed["Downstream"][name]), name
    assert whole.get("Scaler") == resumed.get("Scaler")


def test_a_gpu_checkpoint_is_used_on_a_cpu(tmp_path, capsys):
    train(tmp_path)
    assert main(["-m", "evaluate", "-t", "test", "-e", str(tmp_path), "--device", "cpu"]) == 0
    assert "[Runner] - test: acc" in capsys.readouterr().out


def test_a_device_that_is_not_there(tmp_path, capsys):
    assert main(["-u", "fbank", "-d", "example", "-p", str(tmp_path), "--device", "cuda:99"]) == 2
    assert "cuda:99" in capsys.readouterr().err
