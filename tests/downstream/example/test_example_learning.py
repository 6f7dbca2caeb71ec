"""Does the example learn over the command line? Shortened in the default run; as shipped, for three seeds, among the slow tests."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from downstream.example.dataset import CLASS_NUM
from run_downstream import main
from tests.downstream.seeds import SEEDS

FEWER = (
    "config.runner.total_steps=60,,config.runner.eval_step=60,,config.runner.save_step=60,,config.scheduler.num_warmup_steps=5,,"
    "config.runner.tensorboard=False,,config.downstream_expert.datarc.num_workers=0,,"
    "config.downstream_expert.datarc.sizes={'train': 200, 'dev': 16, 'test': 40}"
)


def accuracy(folder: Path, split: str = "test") -> float:
    """What ``-m evaluate`` says of ``dev-best.ckpt``."""
    assert main(["-m", "evaluate", "-t", split, "-e", str(folder / "dev-best.ckpt"), "--device", "cpu"]) == 0
    return json.loads((folder / f"results/dev-best/{split}.json").read_text())["scores"]["acc"]["value"]


def test_a_short_run_learns(tmp_path: Path):
    """Chance is 1/48, and 40 items stay below ten times of it but once in ten million draws."""
    assert main(["-m", "train", "-u", "fbank", "-d", "example", "-p", str(tmp_path / "run"), "--device", "cpu", "-o", FEWER]) == 0
    assert accuracy(tmp_path / "run") > 10 / CLASS_NUM


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_the_shipped_config(repo: Path, tmp_path: Path, seed: int):
    words = [sys.executable, str(repo / "run_downstream.py"), "-m", "train", "-u", "fbank", "-d", "example", "-n", "HelloWorld"]
    done = subprocess.run([*words, "--seed", str(seed), "--device", "cpu"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "training is complete at step 400" in done.stdout
    assert accuracy(tmp_path / "result/downstream/HelloWorld") > 0.95
