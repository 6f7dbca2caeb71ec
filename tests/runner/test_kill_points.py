"""A training that is killed at a named place, or before any one change of its folder, ends as the one that nothing disturbed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.compare import assert_same_run
from tests.support.faults import FOLDER, NTH, REPORT
from utility.experiment.checkpoint import load
from utility.experiment.killpoints import VARIABLE

POINTS = [
    "checkpoint.written:1",
    "checkpoint.written:3",
    "checkpoint.before_rename:5",
    "checkpoint.before_remove:1",
    "evaluate.middle:8",
    "evaluate.middle:22",
]

VARIANTS = {
    "plain": {},
    "one worker": {"downstream_expert": {"datarc": {"num_workers": 1}}},
    "two workers": {"downstream_expert": {"datarc": {"num_workers": 2}}},
    "one kept": {"runner": {"max_keep": 1, "gradient_accumulate_steps": 1}},
    "stream": {"downstream_expert": {"datarc": {"stream": True}}},
    "epochs": {
        "runner": {"total_steps": None, "total_epochs": 5, "log_step": None, "log_epoch": 1, "eval_step": None, "eval_epoch": 2},
        "scheduler": {
            "name": "TorchScheduler",
            "torch_scheduler_name": "ExponentialLR",
            "gamma": 0.7,
            "interval": "epoch",
            "num_warmup_steps": None,
        },
    },
}


def killed(toy, point: str):
    """Starts the training with a kill at ``point``, and makes sure that it came to that."""
    process = toy.run(environment={VARIABLE: point})
    assert process.status == -signal.SIGKILL, process.err
    return process


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_at_a_named_place(make_toy, uninterrupted, point):
    toy = make_toy()
    killed(toy, point)
    toy.finish()
    assert_same_run(toy.folder, uninterrupted())


def test_a_run_is_killed_at_many_places_in_a_row(make_toy, uninterrupted):
    toy, resumed = make_toy(), []
    for point in ("checkpoint.written:2", "checkpoint.before_remove:1", "evaluate.middle:9", "checkpoint.written"):
        killed(toy, point)
        resumed.append(toy.steps[-1])
    toy.finish()
    assert len(set(resumed)) > 2, resumed
    assert_same_run(toy.folder, uninterrupted())


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_make_no_difference(make_toy, uninterrupted, workers):
    toy = make_toy(downstream_expert={"datarc": {"num_workers": workers}})
    killed(toy, "evaluate.middle:9")
    toy.finish()
    assert_same_run(toy.folder, uninterrupted())


@pytest.mark.parametrize("variant", [name for name in VARIANTS if "worker" not in name])
def test_variants(make_toy, uninterrupted, variant):
    toy = make_toy(**VARIANTS[variant])
    killed(toy, "checkpoint.before_remove:2")
    toy.finish()
    assert_same_run(toy.folder, uninterrupted(**VARIANTS[variant]))


def test_a_trained_upstream_and_a_task_on_the_base_class(make_toy, uninterrupted):
    toy = make_toy("toy_dealt_task", "-f")
    killed(toy, "evaluate.middle:11")
    toy.finish()
    assert load(toy.folder / "states-17.ckpt")["Upstream"]
    assert_same_run(toy.folder, uninterrupted("toy_dealt_task", "-f"))


def test_fbank_and_the_example_task(server, tmp_path):
    sizes = "config.downstream_expert.datarc.sizes={'train': 10, 'dev': 4, 'test': 2},,config.downstream_expert.datarc.num_workers=1"
    runner = "config.runner.total_steps=5,,config.runner.eval_step=2,,config.runner.save_step=3,,config.runner.log_step=2"
    argv = ["-u", "fbank", "-d", "example", "-o", f"{sizes},,{runner},,config.runner.tensorboard=False", "--device", "cpu"]
    assert server.run([*argv, "-p", "a"], tmp_path).status == 0
    killed_run = server.run(["-a", *argv, "-p", "b"], tmp_path, environment={VARIABLE: "checkpoint.before_remove"})
    assert killed_run.status == -signal.SIGKILL
    assert server.run(["-a", *argv, "-p", "b"], tmp_path).status == 0
    for folder in ("a", "b"):
        (tmp_path / folder / "log.log").touch()
    assert_same_run(tmp_path / "b", tmp_path / "a")


def test_updates_cross_the_ends_of_epochs(make_toy, uninterrupted):
    """A kill between the two epochs that one update draws its three batches from."""
    changes = {"runner": {"save_step": 1, "max_keep": 20}}
    toy = make_toy(**changes)
    killed(toy, "checkpoint.written:5")
    state = load(toy.folder / "states-3.ckpt")
    assert (state["Epoch"], state["Consumed"], state["EpochLength"]) == (0, 9, 10)
    toy.finish()
    assert_same_run(toy.folder, uninterrupted(**changes))


@pytest.mark.parametrize("split", ["train", "dev"])
def test_a_loader_worker_is_killed(make_toy, uninterrupted, tmp_path, split):
    datarc = {"num_workers": 1, "kill_marker": str(tmp_path / "killed"), "kill_index": 3, "kill_split": split}
    toy = make_toy(downstream_expert={"datarc": datarc})
    first = toy.run()
    assert (tmp_path / "killed").exists()
    assert first.status == 1
    assert "worker" in first.err and "killed" in first.err
    toy.finish()
    assert_same_run(toy.folder, uninterrupted())


@pytest.mark.parametrize("flag", ["-a", "-e"])
def test_the_folder_has_moved(make_toy, uninterrupted, flag):
    toy = make_toy()
    killed(toy, "evaluate.middle:8")
    moved = toy.place / "elsewhere"
    toy.folder.rename(moved)
    toy.folder, toy.flags = moved, ("-e", str(moved)) if flag == "-e" else ()
    toy.finish()
    assert_same_run(moved, uninterrupted())


def test_a_copy_is_trained_on_in_another_folder(make_toy, uninterrupted):
    """-e CHECKPOINT -p NEW: the new folder holds the whole run in the end, the old one is as it was."""
    toy = make_toy()
    killed(toy, "evaluate.middle:8")
    before = {path.name: path.read_bytes() for path in toy.folder.iterdir() if path.is_file()}
    old, toy.folder = toy.folder, toy.place / "elsewhere"
    newest = max(old.glob("states-*.ckpt"), key=lambda path: path.stat().st_mtime_ns)
    toy.flags = ("-e", str(newest))
    toy.finish()
    assert {path.name: path.read_bytes() for path in old.iterdir() if path.is_file()} == before
    assert_same_run(toy.folder, uninterrupted())


def count_changes(toy, tmp_path: Path) -> int:
    """How many changes of the folder an undisturbed run makes."""
    report = tmp_path / "report"
    toy.run(before="tests.support.faults:kill_before_change", environment={NTH: "0", FOLDER: str(toy.folder), REPORT: str(report)})
    return len(report.read_text().splitlines())


def kill_before(toy, change: int) -> None:
    variables = {NTH: str(change), FOLDER: str(toy.folder)}
    process = toy.run(before="tests.support.faults:kill_before_change", environment=variables)
    assert process.status == -signal.SIGKILL, process.err


@pytest.fixture(scope="module")
def changes(make_toy, tmp_path_factory) -> int:
    return count_changes(make_toy(), tmp_path_factory.mktemp("report"))


@pytest.mark.parametrize("part", [0.02, 0.35, 0.7, 0.97])
def test_a_kill_before_a_change_of_the_folder(make_toy, uninterrupted, changes, part):
    toy = make_toy()
    kill_before(toy, 1 + int(part * changes))
    toy.finish()
    assert_same_run(toy.folder, uninterrupted())


@pytest.mark.slow
def test_a_kill_before_every_second_change_of_the_folder(make_toy, uninterrupted, changes):
    assert changes > 50
    for change in range(1, changes + 1, 2):
        toy = make_toy()
        kill_before(toy, change)
        toy.finish()
        assert_same_run(toy.folder, uninterrupted())


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_named_places_at_every_third_visit(make_toy, uninterrupted, variant):
    expected = uninterrupted(**({} if "worker" in variant else VARIANTS[variant]))
    kills = 0
    for name in ("checkpoint.written", "checkpoint.before_rename", "checkpoint.before_remove", "evaluate.middle"):
        for visit in range(1, 100, 3):
            toy = make_toy(**VARIANTS[variant])
            if toy.run(environment={VARIABLE: f"{name}:{visit}"}).status == 0:
                break
            kills += 1
            toy.finish()
            assert_same_run(toy.folder, expected)
    assert kills > 10


def test_a_fresh_run_is_killed_while_it_moves_the_old_one_aside(make_toy, uninterrupted):
    """Whatever the moment, no file of the old run is lost, and the next start takes nothing of it for its own."""
    old = make_toy()
    shutil.copytree(uninterrupted(), old.folder)
    kept = {path.name: path.read_bytes() for path in old.folder.iterdir() if path.is_file() and path.name != ".lock"}
    fresh = [word for word in old.argv if word != "-a"]
    variables = {NTH: "3", FOLDER: str(old.folder)}
    process = old.server.run(fresh, old.place, before="tests.support.faults:kill_before_change", environment=variables)
    assert process.status == -signal.SIGKILL
    assert old.server.run(fresh, old.place).status == 0
    found = {path.name: path.read_bytes() for folder in old.folder.glob("previous-*") for path in folder.iterdir() if path.is_file()}
    assert found == kept
    assert_same_run(old.folder, uninterrupted())


def orphaned_memory() -> set[str]:
    """Names of the shared memory of loader workers that live no more."""
    names = (path.name for path in Path("/dev/shm").glob("torch_*"))
    return {name for name in names if not Path("/proc", name.split("_")[1]).exists()}


KILLS = ["checkpoint.before_rename:3"]


def test_the_real_loop_with_real_processes(repo, make_toy, uninterrupted):
    """./run_while.sh python3 run_downstream.py -a ...: each attempt but the last is ended by SIGKILL, and its shared memory is freed."""
    toy, before = make_toy(downstream_expert={"datarc": {"num_workers": 1}}), orphaned_memory()
    script = toy.place / "run_downstream.py"
    wrapper = f"import os, sys, pathlib\nn = len(list(pathlib.Path({str(toy.place)!r}).glob('attempt-*')))\n"
    wrapper += f"pathlib.Path({str(toy.place)!r}, f'attempt-{{n}}').touch()\nkills = {KILLS!r}\n"
    wrapper += f"os.environ.update({{{VARIABLE!r}: kills[n]}} if n < len(kills) else {{}})\n"
    wrapper += f"os.execv(sys.executable, [sys.executable, {str(repo / 'run_downstream.py')!r}, *sys.argv[1:]])\n"
    script.write_text(wrapper)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    variables = {**os.environ, "PATH": path, "RUN_WHILE_MIN_WAIT": "0", "RUN_WHILE_MAX_WAIT": "0", "TOY_MARKER": toy.place.name}
    words = [str(repo / "run_while.sh"), "python3", str(script), *toy.argv]
    done = subprocess.run(words, cwd=toy.place, env=variables, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert [f"trial {n} ended with status 137" in done.stderr for n in (1, 2)] == [True, False]
    assert "training is complete at step 17" in done.stdout
    assert_same_run(toy.folder, uninterrupted())
    assert processes.with_variable(f"TOY_MARKER={toy.place.name}") == []
    processes.wait_until(lambda: orphaned_memory() <= before, "the loader worker's shared memory is freed", 30)
