"""The printed commands of the guide, word for word, on labelled noise at the paths of config.yaml, with fewer steps appended."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from preprocess.generate_len_for_bucket import main as measure
from run_downstream import main
from tests.downstream.librispeech import write_utterances
from tests.downstream.native import native_recordings
from utility.experiment import checkpoint

FEWER = (
    "config.runner.total_steps=12,,config.runner.eval_step=6,,config.runner.save_step=12,,config.runner.log_step=6,,config.optimizer.lr=3.0e-2,,"
    "config.downstream_expert.datarc.num_workers=0,,config.runner.tensorboard=False"
)
EXPDIR = Path("result/downstream/ExpName")


def still(settings: str) -> str:
    """The same training without learning."""
    return settings.replace("lr=3.0e-2", "lr=0.0")


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loud frames are of class 7, quiet ones of class 3."""
    monkeypatch.chdir(tmp_path)
    rng, labels = np.random.default_rng(0), Path("data/phone_linear/data")
    loud = [rng.random(10 + index) < 0.5 for index in range(14)]
    wavs = [(rng.normal(0, 0.2, len(own) * 160) * np.repeat(np.where(own, 1, 0.01), 160), "X") for own in loud]
    names = write_utterances(Path("data/LibriSpeech"), "train-clean-100", 1, 2, wavs)
    labels.mkdir(parents=True)
    lines = [" ".join([name, *map(str, np.where(own, 7, 3))]) for name, own in zip(names, loud, strict=True)]
    (labels / "converted_aligned_phones.txt").write_text("\n".join(lines))
    (labels / "train_split.txt").write_text("\n".join(names[:10]))
    (labels / "test_split.txt").write_text("\n".join(names[10:]))


def test_printed_commands(corpus, repo: Path):
    """Three trainings one after the other in one folder, each evaluated by the printed program."""
    assert measure(shlex.split("--data_root data/LibriSpeech --output_path ./data/")) == 0
    for task in ("phone_linear", "phone_linear_concat", "phone_1hidden"):
        assert main([*shlex.split(f"-m train -u baseline -d {task} -n ExpName"), "-o", FEWER, "--device", "cpu"]) == 0
        words = [sys.executable, str(repo / "utility/get_best_dev.py"), str(EXPDIR / "log.log")]
        said = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
        assert said[0].endswith("states-12.ckpt")
        assert said[1].startswith("The best dev score 0.")
        assert "None" not in said[1]
    assert len(list(EXPDIR.glob("previous-*"))) == 2
    best = str(EXPDIR / "best-states-dev.ckpt")
    assert main(["-m", "evaluate", "-t", "test", "-e", best, "--device", "cpu"]) == 0
    assert main([*shlex.split(f"-m train -u baseline -d phone_1hidden -n Second -i {best}"), "-o", still(FEWER), "--device", "cpu"]) == 0
    assert (EXPDIR.parent / "Second/best-states-dev.ckpt").exists(), "equal weights are as good, and the new training knows no others"


def test_a_checkpoint_of_s3prl_is_where_a_training_begins(corpus, golden, repo: Path):
    """With a learning rate of 0 its weights are those of the end."""
    assert measure(shlex.split("--data_root data/LibriSpeech --output_path ./data/")) == 0
    saved = golden("tasks/heads/phone_linear") / "state.pt"
    upstream = str(repo / "tests/support/plugins/toy_upstream")
    words = ["-u", upstream, "-d", "phone_linear", "-i", str(saved), "-n", "ExpName", "--device", "cpu"]
    steps = still(FEWER).replace("total_steps=12", "total_steps=1").replace("save_step=12", "save_step=1")
    assert main(["-m", "train", *words, "-o", steps]) == 0
    begun, ended = checkpoint.load(saved), checkpoint.load(EXPDIR / "states-1.ckpt")
    for part in ("Downstream", "Featurizer"):
        for name, value in begun[part].items():
            torch.testing.assert_close(ended[part][name], value, rtol=0, atol=0)


def test_real_recordings_of_several_rates(corpus, shared: Path, capsys: pytest.CaptureFixture):
    """Segments follow each other from the beginning to the end; loud and quiet is all that this probe has learnt to tell apart."""
    assert measure(shlex.split("--data_root data/LibriSpeech --output_path ./data/")) == 0
    assert main([*shlex.split("-m train -u baseline -d phone_linear -n ExpName"), "-o", FEWER, "--device", "cpu"]) == 0
    capsys.readouterr()
    files = native_recordings(shared)
    assert main(["-m", "inference", "-t", *map(str, files), "-e", str(EXPDIR / "states-12.ckpt"), "--device", "cpu"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["file"] for answer in answers] == list(map(str, files))
    for answer, seconds in zip(answers, files.values(), strict=True):
        segments = answer["segments"]
        assert segments[0]["start"] == 0 and segments[-1]["end"] == pytest.approx(seconds, abs=0.03)
        assert all(a["end"] == b["start"] and a["label"] != b["label"] for a, b in pairwise(segments))
        assert {"7", "3"} & {segment["label"] for segment in segments}
