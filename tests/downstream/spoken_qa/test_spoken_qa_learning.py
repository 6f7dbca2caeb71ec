"""Does spoken question answering learn? On synthetic passages beside answers that do not listen, and real recordings through inference."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from downstream.spoken_qa import nmsqa
from run_downstream import main
from tests.downstream.spoken_qa.to_beat import baselines, items
from tests.support.corpora import synthetic

CONFIG = "downstream/spoken_qa/fbank.yaml"
FEWER = (
    "config.runner.total_steps=24,,config.runner.eval_step=24,,config.runner.save_step=24,,config.runner.log_step=24,,"
    "config.runner.tensorboard=False,,config.optimizer.lr=5.0e-3,,config.scheduler.num_warmup_steps=5,,"
    "config.downstream_expert.datarc.num_workers=0,,config.downstream_expert.datarc.batch_size=2,,"
    "config.downstream_expert.modelrc.dim=32,,config.downstream_expert.modelrc.dropout=0.0,,config.downstream_expert.modelrc.step_ms=80"
)


def corpus(out: Path, size: str | int, jobs: int | None = 1) -> Path:
    """A synthetic corpus; skips where there is no synthesizer."""
    return synthetic("spoken_qa", out, size, jobs) / "NMSQA"


def scores(folder: Path, split: str, checkpoint: str) -> dict[str, float]:
    """AOS and FF1 of ``-m evaluate``."""
    assert main(["-m", "evaluate", "-t", split, "-e", str(folder / f"{checkpoint}.ckpt"), "--device", "cpu"]) == 0
    found = json.loads((folder / f"results/{checkpoint}/{split}.json").read_text())["scores"]
    return {name: found[name]["value"] for name in ("aos", "ff1")}


@pytest.fixture(scope="module")
def trained(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A short training on two passages, and its corpus."""
    root, folder = corpus(tmp_path_factory.mktemp("few"), 2), tmp_path_factory.mktemp("run")
    words = ["-m", "train", "-u", "fbank", "-d", "spoken_qa", "-c", str(repo / CONFIG), "-p", str(folder), "--device", "cpu"]
    assert main([*words, "-o", f"{FEWER},,config.downstream_expert.datarc.root={root}"]) == 0
    return root, folder


def test_the_answers_of_a_few_passages_are_learned_per_question(trained):
    """One answer for all questions of a passage would reach a third at most; here the question decides."""
    root, folder = trained
    listened = scores(folder, "train", "states-24")
    seen = list(items(nmsqa.questions(root, "train")))
    beaten = baselines(seen, seen)
    print(beaten.beside("training passages", listened["aos"]))
    assert listened["aos"] > 0.5 > beaten.fixed
    assert listened["ff1"] >= listened["aos"]


def test_log_checkpoint_and_evaluation_agree(trained):
    _, folder = trained
    logged = (folder / "log.log").read_text().splitlines()
    assert logged[0].startswith("dev at step 24: ") and logged[1].startswith("New best on dev at step 24: ")
    assert scores(folder, "dev", "dev-best")["aos"] == pytest.approx(float(logged[0].split()[-1]))


def test_real_recordings_get_an_answer(trained, shared: Path, tmp_path: Path):
    _, folder = trained
    question, passage = sorted((shared / "data/librispeech_mini").rglob("*.flac"))[:2]
    output = tmp_path / "answers.jsonl"
    words = ["-m", "inference", "-t", str(question), str(passage), "-e", str(folder / "dev-best.ckpt"), "--device", "cpu"]
    assert main([*words, "--output", str(output)]) == 0
    (answer,) = map(json.loads, output.read_text().splitlines())
    assert 0 <= answer["start"] < answer["end"] and 0 < answer["score"] <= 1
    assert [Path(file).name for file in answer["files"]] == [question.name, passage.name]


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory):
    """The corpus that a newcomer writes, and what the baselines reach on its test."""
    root = corpus(tmp_path_factory.mktemp("small"), "small", jobs=None)
    return root, baselines(*(list(items(nmsqa.questions(root, split))) for split in ("train", "test-SQuAD")))


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_unseen_facts_by_unseen_speakers(repo: Path, tmp_path: Path, small, seed: int):
    root, beaten = small
    words = [sys.executable, str(repo / "run_downstream.py"), "-m", "train", "-u", "fbank", "-d", "spoken_qa", "-c", str(repo / CONFIG)]
    words += ["-p", str(tmp_path), "--seed", str(seed), "--device", "cpu", "-o", f"config.downstream_expert.datarc.root={root}"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    aos = scores(tmp_path, "test-SQuAD", "dev-best")["aos"]
    print(f"seed {seed}: " + beaten.beside("test-SQuAD", aos))
    assert aos > 0.3
    assert aos > 2 * beaten.fixed
