"""Does speaker identification learn? On synthetic sentences that training does not have, and on real speakers."""

from __future__ import annotations

from pathlib import Path

import pytest

from downstream.voxceleb1.corpus import places_of, read_list, speakers_of
from tests.downstream.baselines import Baselines, baselines
from tests.downstream.learning import answers_for, best_dev, evaluated, heard, train, train_here
from tests.downstream.seeds import SEEDS
from tests.downstream.voxceleb1.layouts import Layout, emodb_speakers, fsdd_speakers, lay_out_speakers, synthetic, timit_speakers
from utility.experiment.checkpoint import load

TASK, CONFIG = "voxceleb1", "downstream/voxceleb1/convolution.yaml"
LEAST = 0.8
FEWER = (
    "config.runner.total_steps=30,,config.runner.eval_step=15,,config.runner.save_step=30,,config.runner.log_step=15,,"
    "config.runner.tensorboard=False,,config.scheduler.num_warmup_steps=3,,config.optimizer.lr=1.0e-2,,"
    "config.downstream_expert.datarc.train_batch_size=16,,config.downstream_expert.datarc.num_workers=0,,"
    "config.downstream_expert.datarc.max_timestep=16000,,config.downstream_expert.modelrc.projector_dim=32,,"
    "config.downstream_expert.modelrc.UtteranceLevel.pre_net.Convolution={'channels': [64], 'kernel_size': 3}"
)


def to_beat(layout: Layout, folder: Path) -> Baselines:
    """The baselines on the test part."""
    lines = read_list(layout.split_file)
    places, speakers = places_of(layout.root, layout.split_file, lines, folder), speakers_of(lines, layout.split_file)
    return baselines(*(heard(places.recordings(lines, split, speakers, layout.split_file)) for split in ("train", "test")))


@pytest.fixture(scope="module")
def trained(repo: Path, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short training on ten real speakers."""
    place = tmp_path_factory.mktemp("real")
    layout = lay_out_speakers(timit_speakers(shared), place / "corpus", held_out=2)
    return train_here(repo, place / "run", TASK, CONFIG, f"{FEWER},,{layout.override}")


def test_real_speakers_are_recognised_in_other_sentences(trained: Path):
    """One answer for all of the ten would be right in 10 %."""
    assert evaluated(trained, "test", "states-30")["scores"]["acc"]["value"] >= 0.4


def test_log_checkpoint_and_evaluation_agree(repo: Path, trained: Path):
    for split, accuracy in zip(("dev", "test"), best_dev(repo, trained), strict=True):
        assert evaluated(trained, split)["scores"]["acc"]["value"] == pytest.approx(accuracy)
        answers, truth = ((trained / f"results/dev-best/{split}_{kind}.txt").read_text().splitlines() for kind in ("predict", "truth"))
        assert sum(a == b for a, b in zip(answers, truth, strict=True)) / len(truth) == pytest.approx(accuracy)


def test_real_recordings_get_an_answer(trained: Path, shared: Path, tmp_path: Path):
    """Of a stranger, at 22.05 kHz."""
    (answer,) = answers_for(shared / "data/emodb/wav/03a01Wa.wav", trained, tmp_path / "answers.jsonl")
    assert set(answer["probabilities"]) == {f"id{number}" for number in range(10001, 10011)}
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_a_checkpoint_names_its_speakers(trained: Path):
    state = load(trained / "dev-best.ckpt")["Downstream"]["_extra_state"]
    assert state["vocabularies"]["speaker"] == [f"id{number}" for number in range(10001, 10011)]


@pytest.mark.slow
@pytest.mark.parametrize("corpus", ["emodb", "fsdd"])
def test_real_speakers_in_other_recordings(repo: Path, shared: Path, tmp_path: Path, corpus: str):
    """Five who act emotions at 22.05 kHz, four who say digits at 8 kHz."""
    spoken = emodb_speakers(shared) if corpus == "emodb" else fsdd_speakers(shared, tmp_path / "fsdd")
    layout = lay_out_speakers(spoken, tmp_path / "corpus", held_out=8)
    beaten = to_beat(layout, tmp_path)
    steps = "config.runner.total_steps=120,,config.runner.eval_step=60,,config.runner.save_step=120"
    dev, test = best_dev(repo, train(repo, tmp_path, TASK, CONFIG, f"{layout.override},,{FEWER},,{steps}", 1))
    print(f"{corpus}: dev {dev:.3f}; " + beaten.beside("test", test))
    assert test > 2 * beaten.majority


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Layout, Baselines]:
    """The corpus that a newcomer writes, and what averages reach on it."""
    layout = synthetic(tmp_path_factory.mktemp("small"), "small", jobs=None)
    return layout, to_beat(layout, tmp_path_factory.mktemp("places"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_speakers_in_unseen_sentences(repo: Path, small, tmp_path: Path, seed: int):
    layout, beaten = small
    dev, test = best_dev(repo, train(repo, tmp_path, TASK, CONFIG, layout.override, seed))
    print(f"seed {seed}: dev {dev:.3f}; " + beaten.beside("test", test))
    assert test > LEAST
    assert 1 - test <= beaten.error_to_halve / 2
