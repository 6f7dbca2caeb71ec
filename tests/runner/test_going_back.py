"""A run that goes on from an earlier checkpoint keeps what it had later aside, and takes none of it for its own."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest
import torch

from tests.support import toys
from tests.support.compare import assert_same_run, metrics_of
from tests.support.faults import FOLDER, NTH
from utility.experiment.checkpoint import load, step_of
from utility.experiment.killpoints import VARIABLE

KEEPING = {"runner": {"max_keep": 9}}


def content(folder: Path) -> dict[str, bytes]:
    """Every file below the folder but lock and logs, by its path."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.suffix in (".ckpt", ".json"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.fixture
def done(make_toy, uninterrupted):
    """A finished run of 17 steps with all its checkpoints; ``early-best.ckpt`` is of step 4, ``dev-best.ckpt`` of a step after 8."""
    toy = make_toy("toy_dealt_task", **KEEPING)
    shutil.copytree(uninterrupted("toy_dealt_task", **KEEPING), toy.folder)
    shutil.copy(toy.folder / "states-4.ckpt", toy.folder / "early-best.ckpt")
    late = load(toy.folder / "states-16.ckpt")
    torch.save(late, toy.folder / "dev-best.ckpt")
    for name in ("dev-best", "states-4", "states-12", "states-14", "early-best"):
        (toy.folder / "results" / name).mkdir(parents=True, exist_ok=True)
        (toy.folder / "results" / name / "test.json").write_text(f'"{name}"')
    (toy.folder / "notes.ckpt").write_text("the user's own")
    return toy


LATER = ["dev-best.ckpt", "states-12.ckpt", "states-16.ckpt", "states-17.ckpt"]
RESULTS = ["results/dev-best/test.json", "results/states-12/test.json", "results/states-14/test.json"]
EARLIER = ["states-4.ckpt", "states-8.ckpt", "early-best.ckpt", "notes.ckpt", "results/states-4/test.json", "results/early-best/test.json"]


def back(toy, *more: str) -> list[str]:
    return ["-m", "train", "-e", str(toy.folder / "states-8.ckpt"), "--device", "cpu", *toys.plugins("toy_dealt_task"), *more]


def test_what_is_later_is_set_aside_and_the_rest_stays(done):
    before = content(done.folder)
    process = done.server.run(back(done, "-o", "config.optimizer.lr=0.0,,config.runner.total_steps=9"), done.place)
    assert process.status == 0, process.err
    (aside,) = done.folder.glob("previous-*")
    moved, now = content(aside), content(done.folder)
    for name in (*LATER, *RESULTS):
        assert moved[name] == before[name]
        assert now.get(name) != before[name]
    for name in EARLIER:
        assert name not in moved
        assert now[name] == before[name]
    for path in done.folder.glob("*-best.ckpt"):
        assert step_of(path) <= 9
    assert metrics_of(aside)[-1]["step"] == 17


def test_the_same_way_again_ends_in_the_same_run(make_toy, uninterrupted):
    toy = make_toy("toy_dealt_task", **KEEPING)
    shutil.copytree(uninterrupted("toy_dealt_task", **KEEPING), toy.folder)
    assert toy.server.run(back(toy), toy.place).status == 0
    assert_same_run(toy.folder, uninterrupted("toy_dealt_task", **KEEPING))


def test_another_folder_gets_nothing_that_is_later(done):
    before = content(done.folder)
    place = done.place / "new"
    assert done.server.run(back(done, "-p", str(place), "-o", "config.optimizer.lr=0.0"), done.place).status == 0
    assert content(done.folder) == before
    assert content(place)["early-best.ckpt"] == before["early-best.ckpt"]
    assert content(place).get("dev-best.ckpt") != before["dev-best.ckpt"]


@pytest.mark.parametrize("nth", [2, 5, 9])
def test_a_kill_while_it_is_set_aside_loses_nothing(done, nth):
    before = content(done.folder)
    variables = {NTH: str(nth), FOLDER: str(done.folder)}
    process = done.server.run(back(done), done.place, before="tests.support.faults:kill_before_change", environment=variables)
    assert process.status == -signal.SIGKILL
    process = done.server.run(back(done), done.place)
    assert process.status == 0, process.err
    found: dict[str, bytes] = {}
    for aside in done.folder.glob("previous-*"):
        found |= content(aside)
    for name in (*LATER, *RESULTS):
        assert found[name] == before[name]


def test_a_killed_run_that_goes_on_sets_nothing_aside(make_toy, uninterrupted):
    """``dev-best.ckpt`` is of step 5, the newest state of step 4: the same settings write it again, others must not have it."""
    toy = make_toy("toy_dealt_task")
    toy.run(environment={VARIABLE: "evaluate.middle:8"})
    assert (step_of(toy.folder / "dev-best.ckpt"), toy.steps) == (5, [4, 8])
    (toy.folder / "states-8.ckpt").unlink()
    other = make_toy("toy_dealt_task")
    shutil.copytree(toy.folder, other.folder)
    toy.finish()
    assert_same_run(toy.folder, uninterrupted("toy_dealt_task"))
    assert not list(toy.folder.glob("previous-*"))
    other.flags = ("-o", "config.optimizer.lr=0.02")
    other.finish()
    (aside,) = other.folder.glob("previous-*")
    assert step_of(aside / "dev-best.ckpt") == 5
