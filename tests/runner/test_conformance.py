"""What every task of the repository has to do: train, survive, evaluate alone and in two processes, answer a user's recordings.

A new task joins by being there; ``tests/downstream/<task>/conformance.py`` gives its smallest form by ``prepare(place)``, which returns
``upstream`` and ``override``, and optionally ``config`` (a file other than the task's config.yaml), ``split`` (what ``-t`` evaluates:
``test``) and ``trains`` (False where there is nothing to train). A folder with several configs names them in ``VARIANTS``, and
``prepare(place, variant)`` prepares one. ``SLOW`` names those of them whose code another of the default run shares; ``SLOW = True`` is
for all of a task.
"""

from __future__ import annotations

import importlib
import json
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile

from downstream.interfaces import DownstreamBase
from tests.runner.conftest import free_port
from tests.support.compare import assert_same_run, results_of
from utility.experiment.killpoints import VARIABLE
from utility.experiment.plugins import find_plugins, load_plugin

TASKS = find_plugins(Path(__file__).resolve().parents[2] / "downstream")
COMMON = (
    "config.runner.total_steps=5,,config.runner.log_step=2,,config.runner.eval_step=3,,config.runner.save_step=2,,"
    "config.runner.gradient_accumulate_steps=2,,config.runner.tensorboard=False,,config.downstream_expert.datarc.num_workers={workers}"
)


def smallest_form(name: str):
    return importlib.import_module(f"tests.downstream.{name}.conformance")


def variants() -> list:
    """Each task with each of its configs."""
    pairs = [(name, variant) for name in sorted(TASKS) for variant in getattr(smallest_form(name), "VARIANTS", (None,))]
    return [pytest.param(pair, id="-".join(filter(None, pair)), marks=pytest.mark.slow if is_slow(*pair) else ()) for pair in pairs]


def is_slow(name: str, variant: str | None) -> bool:
    """Whether a variant is left out of the default run."""
    slow = getattr(smallest_form(name), "SLOW", ())
    return slow if isinstance(slow, bool) else variant in slow


class Conforming:
    """A task with its smallest corpus, and the commands of its trainings."""

    def __init__(self, name: str, variant: str | None, server, place: Path):
        self.name, self.server, self.place = name, server, place
        self.small = smallest_form(name).prepare(place / "corpus", *([variant] if variant else []))
        self.trains, self.split = self.small.get("trains", True), self.small.get("split", "test")
        self.done = self.train("whole", workers=1) if self.trains else place / "whole"

    def argv(self, folder: str, workers: int) -> list[str]:
        override = f"{COMMON.format(workers=workers)},,{self.small['override']}" if self.trains else self.small["override"]
        flags = ["-u", self.small["upstream"], "-d", self.name, "-p", str(self.place / folder), "-o", override, "--device", "cpu"]
        return [*flags, *(["-c", str(self.small["config"])] if "config" in self.small else [])]

    @property
    def experiment(self) -> list[str]:
        """The flags of the finished training, or of the task itself where there is none."""
        return ["-e", str(self.done), "--device", "cpu"] if self.trains else self.argv("whole", workers=0)

    def train(self, folder: str, workers: int) -> Path:
        process = self.server.run(self.argv(folder, workers), self.place)
        assert process.status == 0, process.err
        (self.place / folder / "log.log").touch()
        return self.place / folder

    def evaluate(self, *environments: dict[str, str]) -> None:
        argv = ["-m", "evaluate", "-t", self.split, *self.experiment]
        ranks = [self.server.start(argv, self.place, environment=e) for e in environments or [{}]]
        for rank in ranks:
            assert rank.wait() == 0, rank.err


@pytest.fixture(scope="module", params=variants())
def task(request, server, tmp_path_factory) -> Conforming:
    return Conforming(*request.param, server, tmp_path_factory.mktemp(request.param[0]))


def test_a_killed_training_ends_like_the_undisturbed(task):
    if not task.trains:
        process = task.server.run(["-m", "train", *task.argv("trained", workers=0)], task.place)
        assert process.status == 2, "a task without training says so"
        return
    process = task.server.run(task.argv("killed", workers=0), task.place, environment={VARIABLE: "checkpoint.before_rename:3"})
    assert process.status == -signal.SIGKILL
    process = task.server.run([*task.argv("killed", workers=2), "-a"], task.place)
    assert process.status == 0, process.err
    (task.place / "killed" / "log.log").touch()
    assert_same_run(task.place / "killed", task.done)


def test_two_processes_evaluate_as_one(task):
    task.evaluate()
    alone = results_of(task.done)
    for path in (task.done / "results").rglob("*.json"):  # nothing of one process must be taken for the answer of two
        path.unlink()
    port = str(free_port())
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    task.evaluate(*({**group, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in (0, 1)))
    together = results_of(task.done)
    assert together == {name: alone[name] for name in together}
    assert any(name.endswith(f"{task.split}.json") for name in together)
    (path,) = [name for name in alone if name.endswith(f"{task.split}.json") and not name.startswith(("dev", "checkpoint-"))]
    declared = [score for score in alone[path]["scores"].values() if score["higher_is_better"] is not None]
    assert declared
    assert all(np.isfinite(score["value"]) and score["unit"] for score in declared)


def test_it_answers_recordings_or_says_that_it_does_not(task):
    expert = load_plugin(TASKS[task.name], "DownstreamExpert")
    soundfile.write(task.place / "stereo.wav", np.random.default_rng(0).normal(0, 0.1, (44100, 2)), 44100)
    files = [str(task.place / "stereo.wav")] * (2 if expert.inference_inputs == "pairs" else 1)
    process = task.server.run(["-m", "inference", "-t", *files, *task.experiment], task.place)
    if expert.inference_inputs == "none" or expert.inference is DownstreamBase.inference:
        assert process.status == 2
        assert "has no inference" in process.err
        return
    assert process.status == 0, process.err
    (answer,) = [json.loads(line) for line in process.out.splitlines()]
    assert len(answer) > 1


def test_it_declares_what_the_runner_needs(task):
    expert = load_plugin(TASKS[task.name], "DownstreamExpert")
    assert issubclass(expert, DownstreamBase)
    assert expert.splits
    assert expert.task_version >= 1
