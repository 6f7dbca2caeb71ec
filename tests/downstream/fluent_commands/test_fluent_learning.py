"""Does intent classification learn? On synthetic commands of unseen speakers, beside what averages alone reach; real ones by inference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from downstream.fluent_commands.corpus import read_table, recordings_of, vocabularies_of
from tests.downstream.baselines import Baselines, baselines
from tests.downstream.fluent_commands.layouts import override
from tests.downstream.learning import answers_for, best_dev, evaluated, heard, train, train_here
from tests.downstream.seeds import SEEDS
from tests.support.corpora import synthetic

TASK, CONFIG = "fluent_commands", "downstream/fluent_commands/convolution.yaml"
LEAST = 0.8
FEWER = (  # one small convolution: it learns soonest
    "config.runner.total_steps=80,,config.runner.eval_step=80,,config.runner.save_step=80,,config.runner.log_step=20,,"
    "config.runner.tensorboard=False,,config.scheduler.num_warmup_steps=5,,config.optimizer.lr=8.0e-3,,"
    "config.downstream_expert.datarc.train_batch_size=16,,config.downstream_expert.datarc.num_workers=0,,"
    "config.downstream_expert.modelrc.projector_dim=32,,"
    "config.downstream_expert.modelrc.UtteranceLevel.pre_net.Convolution={'channels': [32], 'kernel_size': 11}"
)


def corpus(out: Path, size: str, jobs: int | None = 1) -> Path:
    """A synthetic corpus; skips where there is no synthesizer."""
    return synthetic(TASK, out, size, jobs) / "fluent_speech_commands_dataset"


def to_beat(root: Path) -> Baselines:
    """The baselines on the test table; a class is a whole meaning."""
    vocabularies = vocabularies_of(read_table(root, "train"))
    items = {split: recordings_of(root, split, vocabularies) for split in ("train", "test")}
    meanings = sorted({recording.label for recording in items["train"]})
    return baselines(*(((wav, meanings.index(label)) for wav, label in heard(items[split])) for split in ("train", "test")))


@pytest.fixture(scope="module")
def trained(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short training on two speakers."""
    place = tmp_path_factory.mktemp("few")
    return train_here(repo, place / "run", TASK, CONFIG, f"{FEWER},,{override(corpus(place / 'corpus', 'tiny'))}")


def test_commands_of_the_training_speakers_are_told_apart(trained: Path):
    """Answers that do not listen have a loss of 5.1, the entropy of the three slots, at the least, and are right once in 31 times.

    Measured with three seeds: losses of 0.9 to 1.5, accuracies of 0.55 to 0.79.
    """
    scores = evaluated(trained, "train", "states-80")["scores"]
    assert scores["loss"]["value"] < 3
    assert scores["acc"]["value"] > 0.25


def test_log_checkpoint_and_evaluation_agree(repo: Path, trained: Path):
    for split, accuracy in zip(("dev", "test"), best_dev(repo, trained), strict=True):
        assert evaluated(trained, split)["scores"]["acc"]["value"] == pytest.approx(accuracy)
        answers, truth = ((trained / f"results/dev-best/{split}_{kind}.csv").read_text().splitlines() for kind in ("predict", "truth"))
        assert sum(a == b for a, b in zip(answers, truth, strict=True)) / len(truth) == pytest.approx(accuracy)


def test_real_recordings_get_an_answer(trained: Path, shared: Path, tmp_path: Path):
    """Hebrew at 8 kHz and German at 22.05 kHz: no commands, but the rates of a user's recordings."""
    files = sorted((shared / "data/yesno").rglob("*.wav"))[:1] + sorted((shared / "data/emodb/wav").glob("*.wav"))[:2]
    for number, file in enumerate(files):
        (tmp_path / f"in{number}.wav").write_bytes(file.read_bytes())
    found = answers_for(tmp_path, trained, tmp_path / "answers.jsonl")
    assert len(found) == 3
    for answer in found:
        for slot, values in (("action", 6), ("object", 14), ("location", 4)):
            assert len(answer[slot]["probabilities"]) == values
            assert np.sum(list(answer[slot]["probabilities"].values())) == pytest.approx(1, abs=1e-5)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Baselines]:
    """The corpus that a newcomer writes, and what averages reach on it."""
    root = corpus(tmp_path_factory.mktemp("small"), "small", jobs=None)
    return root, to_beat(root)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_commands_of_unseen_speakers(repo: Path, small, tmp_path: Path, seed: int):
    root, beaten = small
    dev, test = best_dev(repo, train(repo, tmp_path, TASK, CONFIG, override(root), seed))
    print(f"seed {seed}: dev {dev:.3f}; " + beaten.beside("test", test))
    assert test > LEAST
    assert 1 - test <= beaten.error_to_halve / 2
