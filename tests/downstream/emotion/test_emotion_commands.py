"""The printed commands of the guide, word for word, on labelled noise at the path of config.yaml, with fewer steps appended."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from run_downstream import main
from tests.downstream.emotion.layouts import write_corpus

FEWER = (
    "config.runner.total_steps=2,,config.runner.eval_step=1,,config.runner.save_step=2,,config.runner.log_step=1,,"
    "config.runner.gradient_accumulate_steps=1,,config.runner.tensorboard=False,,config.downstream_expert.datarc.num_workers=0"
)
ROOT = Path("data/IEMOCAP_full_release")


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sessions of forty recordings."""
    monkeypatch.chdir(tmp_path)
    write_corpus(ROOT, {"Session1": 40, "Session2": 40})


def run(repo: Path, words: str) -> list[str]:
    """The lines that a program prints."""
    program, *more = shlex.split(words)
    return subprocess.run([sys.executable, str(repo / program), *more], capture_output=True, text=True, check=True).stdout.splitlines()


def train(words: str) -> int:
    return main([*shlex.split(words), "-o", FEWER, "--device", "cpu"])


def test_the_five_folds_of_which_there_are_two(corpus, repo: Path, caplog: pytest.LogCaptureFixture):
    """The shipped config names the official lists, which are not there; those that were made are."""
    assert run(repo, f"preprocess/IEMOCAP_preprocess.py {ROOT}") == [str(ROOT / "meta_data")]
    for fold in ("fold1", "fold2"):
        caplog.clear()
        assert train(f"-m train -u fbank -d emotion -v {fold} -n emotion_{fold}") == 0
        said = [line for line in caplog.messages if "the lists are those in" in line]
        assert said == [
            "config.downstream_expert.datarc.meta_data: there is no folder ./data/emotion/meta_data; "
            f"the lists are those in {ROOT / 'meta_data'}"
        ]
        best = run(repo, f"utility/get_best_dev.py result/downstream/emotion_{fold}/log.log")
        assert best[-1].startswith("The best dev score 0.")
        assert "None" not in best[-1]
    folders = sorted(map(str, Path("result/downstream").glob("emotion_fold*")))
    lines = run(repo, "utility/cross_validation.py " + " ".join(folders))
    assert [line.partition(":")[0] for line in lines] == ["fold1", "fold2", "mean of 2"]
    assert "unknown" not in " ".join(lines)


def test_lists_that_the_config_names_come_first(corpus, repo: Path, caplog: pytest.LogCaptureFixture):
    run(repo, f"preprocess/IEMOCAP_preprocess.py {ROOT}")
    official = Path("data/emotion/meta_data")
    official.parent.mkdir(parents=True)
    (ROOT / "meta_data").rename(official)
    path = official / "Session1/test_meta_data.json"
    listed = json.loads(path.read_text())
    path.write_text(json.dumps({**listed, "meta_data": listed["meta_data"][:3]}))
    run(repo, f"preprocess/IEMOCAP_preprocess.py {ROOT}")
    assert train("-m train -u fbank -d emotion -v fold1 -n emotion_fold1") == 0
    assert len(Path("result/downstream/emotion_fold1/test_fold1_truth.txt").read_text().splitlines()) == 3
    assert not any("the lists are those in" in line for line in caplog.messages)
