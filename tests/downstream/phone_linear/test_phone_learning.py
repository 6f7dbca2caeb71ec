"""Do the phone probes learn? On synthetic speech beside constant answers and a logistic regression, and on real alignments."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from run_downstream import main
from tests.downstream.baselines import Baselines
from tests.downstream.librispeech import Layout, as_override, synthetic
from tests.downstream.probes import frame_baselines, labelled, lay_out, librivox, timit
from tests.downstream.seeds import SEEDS

# Least accuracy after so many updates, measured over three seeds: README.md of phone_linear.
UPDATES = {"phone_linear": (120, 5.0e-3, 0.46), "phone_linear_concat": (120, 1.0e-3, 0.53), "phone_1hidden": (200, 2.0e-3, 0.61)}


def settings(updates: int, lr: float, batch: int = 8) -> str:
    sizes = as_override({"train_batch_size": batch, "eval_batch_size": 16, "num_workers": 0})
    periods = ",,".join(f"config.runner.{name}_step={updates // 2}" for name in ("log", "eval", "save"))
    return f"config.runner.total_steps={updates},,{periods},,config.runner.tensorboard=False,,config.optimizer.lr={lr},,{sizes}"


def best(repo: Path, folder: Path) -> list[tuple[float, float]]:
    """The best dev accuracy and the test accuracy of its step, as each of the two programs says it."""
    answers = []
    for program in ("get_best_dev.py", "get_best_score.py"):
        words = [sys.executable, str(repo / "utility" / program), str(folder / "log.log")]
        said = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
        answers.append((float(said[said.index("score") + 1]), float(said[-1])))
    return answers


@pytest.fixture
def train(repo: Path, tmp_path: Path) -> Callable[..., tuple[float, float]]:
    """Trains over the command line; gives dev accuracy and the test accuracy beside it."""

    def run(task: str, corpus: str, how: str, seed: int = 1) -> tuple[float, float]:
        words = ["-m", "train", "-u", "fbank", "-d", task, "-p", str(tmp_path / "run"), "--seed", str(seed), "--device", "cpu"]
        assert main([*words, "-o", f"{corpus},,{how}"]) == 0
        by_dev, by_score = best(repo, tmp_path / "run")
        assert by_dev == by_score
        return by_dev

    return run


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory) -> tuple[Layout, Path]:
    """Four speakers of six utterances."""
    out = tmp_path_factory.mktemp("few")
    return synthetic(out, 4), out / "phone_labels"


def test_few_speakers_few_updates(few, train, tmp_path: Path):
    """A hidden layer finds the phones of new sentences far more often than any constant answer."""
    layout, labels = few
    _, test = train("phone_1hidden", labelled(layout, labels), settings(24, 3.0e-3, batch=4))
    constant = frame_baselines(layout, labels, regression=False).majority
    print(f"test: accuracy {test:.3f}; majority {constant:.3f}")
    assert test >= 1.8 * constant

    checkpoint = tmp_path / "run/best-states-dev.ckpt"
    assert main(["-m", "evaluate", "-t", "test", "-e", str(checkpoint), "--device", "cpu"]) == 0
    assert f"acc:{test}" in (tmp_path / "run/results/best-states-dev/log.log").read_text()


def test_real_alignments(shared: Path, train, tmp_path: Path):
    """Hand-made phones of eight TIMIT speakers; tested on two others, who say other sentences too, and on a reader of LibriVox."""
    speakers = timit(shared / "data/timit_sample")
    reader = librivox(shared / "data/librivox_pocketsphinx")
    layout, labels = lay_out(tmp_path / "corpus", speakers[:8], [*speakers[8:], reader])
    _, test = train("phone_1hidden", labelled(layout, labels), settings(50, 3.0e-3, batch=4))
    constant = frame_baselines(layout, labels, regression=False).majority
    print(f"test: accuracy {test:.3f}; majority {constant:.3f}")
    assert test >= 1.5 * constant


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Layout, Path, Baselines]:
    """The corpus that a newcomer writes, and what simple answers reach on it."""
    out = tmp_path_factory.mktemp("small")
    layout = synthetic(out, "small", jobs=None)
    return layout, out / "phone_labels", frame_baselines(layout, out / "phone_labels")


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("task", UPDATES)
def test_phones_of_known_speakers(small, train, task: str, seed: int):
    """The linear probes are logistic regressions themselves, so that only the hidden layer can be asked to go far beyond one."""
    layout, labels, beaten = small
    updates, lr, least = UPDATES[task]
    dev, test = train(task, labelled(layout, labels), settings(updates, lr), seed)
    print(f"{task}, seed {seed}: dev {dev:.3f}; " + beaten.beside("test", test))
    assert test > least
    assert test > beaten.logistic - 0.02
    if task == "phone_1hidden":
        assert test > beaten.logistic + 0.05
        assert 1 - test <= (1 - beaten.majority) / 2
