"""Upstreams with weights under the Runner, frozen and trained: killed and resumed equal, evaluated by two processes as by one, and used."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.runner.conftest import free_port
from tests.support.compare import assert_same_run, results_of
from utility.experiment.killpoints import VARIABLE

CASES = {"apc_local": "vq_apc", "tera_local": "tera_chunked", "wav2vec2_local": "wav2vec2_deepposconv"}  # tiny recorded checkpoints
TINY = (
    "config.runner.total_steps=4,,config.runner.eval_step=2,,config.runner.save_step=2,,config.runner.log_step=1,,"
    "config.runner.gradient_accumulate_steps=2,,config.runner.tensorboard=False,,config.downstream_expert.datarc.num_workers=0,,"
    "config.downstream_expert.datarc.train_batch_size=1,,config.downstream_expert.datarc.sizes={'train':5,'dev':2,'test':3}"
)
TRAINED = ("-f", "-s", "last_hidden_state")


class Conforming:
    """The commands of trainings on one upstream."""

    def __init__(self, name: str, ckpt: Path, flags: tuple[str, ...], server, place: Path):
        self.server, self.place = server, place
        self.words = ["-u", name, "-k", str(ckpt), *flags, "-d", "example", "-o", TINY, "--device", "cpu"]

    def train(self, folder: str, *more: str, status: int = 0, **settings) -> Path:
        process = self.server.run([*self.words, "-p", str(self.place / folder), *more], self.place, **settings)
        assert process.status == status, process.err
        (self.place / folder / "log.log").touch()  # the task writes none
        return self.place / folder


def combinations() -> list:
    """Each upstream frozen and trained; the first in the default run, the others among the slow tests."""
    pairs = [(name, flags) for name in CASES for flags in ((), TRAINED)]
    named = [pytest.param(pair, id=f"{pair[0]}-{'trained' if pair[1] else 'frozen'}") for pair in pairs]
    return [named[0], *(pytest.param(*param.values, id=param.id, marks=pytest.mark.slow) for param in named[1:])]


@pytest.fixture(scope="module", params=combinations())
def conforming(request, server, golden, tmp_path_factory) -> Conforming:
    name, flags = request.param
    return Conforming(name, golden(f"upstreams/{CASES[name]}") / "ckpt.pt", flags, server, tmp_path_factory.mktemp(name))


def test_a_killed_training_ends_like_the_undisturbed(conforming):
    whole = conforming.train("whole")
    conforming.train("killed", environment={VARIABLE: "checkpoint.before_rename:2"}, status=-signal.SIGKILL)
    assert_same_run(conforming.train("killed", "-a"), whole)


def test_two_processes_evaluate_as_one_and_recordings_get_an_answer(conforming):
    words = ["-e", str(conforming.train("evaluated")), "--device", "cpu"]
    process = conforming.server.run(["-m", "evaluate", "-t", "test", *words], conforming.place)
    assert process.status == 0, process.err
    folder = conforming.place / "evaluated"
    alone = results_of(folder)
    for path in (folder / "results").rglob("*.json"):
        path.unlink()
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    environments = [{**group, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in (0, 1)]
    ranks = [conforming.server.start(["-m", "evaluate", "-t", "test", *words], conforming.place, environment=e) for e in environments]
    for rank in ranks:
        assert rank.wait() == 0, rank.err
    together = results_of(folder)
    assert together and together == {name: alone[name] for name in together}
    soundfile.write(conforming.place / "stereo.wav", np.random.default_rng(0).normal(0, 0.1, (44100, 2)), 44100)
    process = conforming.server.run(["-m", "inference", "-t", str(conforming.place / "stereo.wav"), *words], conforming.place)
    assert process.status == 0, process.err
    assert len(json.loads(process.out.splitlines()[-1])["probabilities"]) > 1
