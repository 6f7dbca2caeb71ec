"""Folds and their mean."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from utility.cross_validation import main


def experiment(folder: Path, fold: str, weighted: float, unweighted: float | None, step: int = 200) -> Path:
    """A folder whose best dev score is at ``step``, before a worse one."""
    folder.mkdir()
    (folder / "log.log").write_text(
        f"dev at step {step}: 0.7\nNew best on dev at step {step}: 0.7\ntest at step {step}: {weighted}\n"
        f"dev at step {step + 100}: 0.6\ntest at step {step + 100}: 0.99\n"
    )
    (folder / f"test_{fold}_truth.txt").write_text("a neu\n")
    if unweighted is not None:
        tag = f"emotion-{fold}/test-"
        lines = [{"step": step + late, "split": "test", f"{tag}acc": 0, f"{tag}uar": unweighted - late} for late in (0, 100)]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 4')
    return folder


def test_folds_in_order_and_their_mean(repo: Path, tmp_path: Path):
    folders = [experiment(tmp_path / "b", "fold2", 0.5, 0.4), experiment(tmp_path / "a", "fold1", 0.7, 0.5, step=300)]
    words = [sys.executable, "utility/cross_validation.py", *map(str, folders)]
    assert subprocess.run(words, cwd=repo, capture_output=True, text=True, check=True).stdout.splitlines() == [
        f"fold1: weighted accuracy 0.7000, unweighted accuracy 0.5000 (step 300, {tmp_path / 'a'})",
        f"fold2: weighted accuracy 0.5000, unweighted accuracy 0.4000 (step 200, {tmp_path / 'b'})",
        "mean of 2: weighted accuracy 0.6000, unweighted accuracy 0.4500",
    ]


def test_experiments_without_unweighted_accuracy(tmp_path: Path, capsys: pytest.CaptureFixture):
    assert main([str(experiment(tmp_path / "a", "fold1", 0.7, 0.5)), str(experiment(tmp_path / "b", "fold2", 0.5, None))]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "mean of 2: weighted accuracy 0.6000, unweighted accuracy unknown"


@pytest.mark.parametrize(
    ("prepare", "sentence"),
    [
        (lambda folder: folder, "there is no log file"),
        (lambda folder: experiment(folder, "fold1", 0.5, None) and (folder / "log.log").write_text("x\n"), "has no best dev score"),
        (
            lambda folder: experiment(folder, "fold1", 0.5, None) and (folder / "log.log").write_text("New best on dev at step 9: 0.5\n"),
            "has no test score at step 9",
        ),
        (lambda folder: experiment(folder, "fold2", 0.5, None), "fold2 comes twice"),
    ],
)
def test_what_cannot_be_averaged(tmp_path: Path, capsys: pytest.CaptureFixture, prepare, sentence: str):
    prepare(tmp_path / "first")
    assert main([str(tmp_path / "first"), str(experiment(tmp_path / "second", "fold2", 0.5, None))]) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1
