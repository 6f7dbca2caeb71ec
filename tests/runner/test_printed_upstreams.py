"""Printed commands whose upstreams have weights, word for word: a tiny checkpoint lies in the cache where the published one would."""

from __future__ import annotations

import importlib
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from run_downstream import main
from tests.downstream.ctc.layouts import snips_override
from tests.support.corpora import synthetic
from upstream import registry
from utility.experiment.download import CACHE_VARIABLE, cached_path

SHORT = (
    "config.runner.total_steps=2,,config.runner.eval_step=2,,config.runner.save_step=2,,config.runner.log_step=1,,"
    "config.runner.gradient_accumulate_steps=1,,config.runner.tensorboard=False"
)
SMALL_SNIPS = (
    "config.downstream_expert.model.project_dim=8,,config.downstream_expert.model.RNNs={'dim': [8], 'dropout': [0.2]},,"
    "config.downstream_expert.corpus.batch_size=2,,config.downstream_expert.corpus.num_workers=0"
)
WORKERS = "config.downstream_expert.datarc.num_workers=0"
STANDS_FOR = {"apc": "vq_apc", "wav2vec2": "wav2vec2_deepposconv"}  # recorded cases in the same layouts


@pytest.fixture
def train(repo: Path, golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs a printed training in an empty folder; the files of upstreams come from the cache."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    for name, case in STANDS_FOR.items():
        shutil.copy(golden(f"upstreams/{case}") / "ckpt.pt", cached_path(registry.find(name).kwargs["ckpt"]))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "downstream").symlink_to(repo / "downstream")

    def command(line: str, override: str) -> Path:
        assert main([*shlex.split(line), "-o", f"{SHORT},,{override}", "--device", "cpu"]) == 0
        return tmp_path / "result/downstream" / shlex.split(line)[-1]

    return command


def small(task: str, place: Path) -> str:
    """The settings of a task's smallest form."""
    return f"{importlib.import_module(f'tests.downstream.{task}.conformance').prepare(place)['override']},,{WORKERS}"


def test_speaker_verification_on_apc(train, tmp_path: Path):
    folder = train("-m train -u apc -d sv_voxceleb1 -n ExpName", small("sv_voxceleb1", tmp_path / "corpus"))
    assert (folder / "states-2.ckpt").is_file()
    assert main(["-m", "evaluate", "-t", "test", "-e", str(folder), "--device", "cpu"]) == 0


def test_slot_filling_on_wav2vec2(train, tmp_path: Path):
    corpus = synthetic("snips", tmp_path / "corpus")
    train("-m train -u wav2vec2 -d ctc -c downstream/ctc/snips.yaml -n TrainExpName", f"{SMALL_SNIPS},,{snips_override(corpus)}")
    assert main(["-m", "evaluate", "-e", "result/downstream/TrainExpName/dev-best.ckpt", "--device", "cpu"]) == 0


@pytest.mark.parametrize(
    ("line", "task"),
    [
        ("-m train -d voxceleb1 -u fbank -n ExpName", "voxceleb1"),
        ("-m train -u baseline -d fluent_commands -n ExpName", "fluent_commands"),
    ],
)
def test_the_best_dev_score_of_classifiers(repo: Path, train, tmp_path: Path, line: str, task: str):
    folder = train(line, small(task, tmp_path / "corpus"))
    words = [sys.executable, str(repo / "utility/get_best_dev.py"), str(folder / "log.log")]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "The best dev score " in said and "test at step 2: " in (folder / "log.log").read_text()


def test_diarization_and_its_scripts(repo: Path, train, tmp_path: Path):
    line = "-m train -c ./downstream/diarization/config.yaml -d diarization -u baseline -n libri2mix_diar"
    folder = train(line, small("diarization", tmp_path / "corpus"))
    assert main(["-m", "evaluate", "-t", "test", "-e", str(folder / "best-states-dev.ckpt"), "--device", "cpu"]) == 0
    environment = {**os.environ, "PYTHON": sys.executable}
    for words in (("score.sh", folder, tmp_path / "corpus/data/test"), ("report.sh", folder)):
        script, *arguments = map(str, words)
        done = subprocess.run([repo / "downstream/diarization" / script, *arguments], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert any(character.isdigit() for character in done.stdout)
