"""What is not a kill: damaged checkpoints, a full disk, a second trainer in the folder, signals."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from run_downstream import main
from tests.support import processes
from tests.support.compare import assert_same_run, differences, metrics_of
from tests.support.faults import AT, FOLDER, NTH, REPORT, SIGNALS
from tests.support.toys import plugins
from utility.errors import CheckpointError
from utility.experiment import checkpoint
from utility.experiment.checkpoint import load
from utility.experiment.folder import ExperimentFolder
from utility.experiment.killpoints import VARIABLE

REAL_LOAD_LATEST = checkpoint.load_latest
FAULTS = "tests.support.faults:"


@pytest.fixture(scope="module")
def halfway(make_toy) -> Path:
    """The folder of a run that was killed with the checkpoints of steps 4 and 8 in it."""
    toy = make_toy()
    toy.run(environment={VARIABLE: "evaluate.middle:8"})
    assert toy.steps == [4, 8]
    return toy.folder


@pytest.fixture
def half_toy(make_toy, halfway):
    """A toy that stands where :func:`halfway` stands."""
    toy = make_toy()
    shutil.copytree(halfway, toy.folder)
    return toy


def sentences(process) -> list[str]:
    """The lines of stderr that are no progress bar."""
    lines = (line.strip("\x1b[A ") for line in process.err.replace("\r", "\n").splitlines())
    return [line for line in lines if line and not any(mark in line for mark in ("it/s", "step/s", "s/it", "s/step"))]


# ---- damaged checkpoints


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def flip(path: Path) -> None:
    """One bit of a weight."""
    content, weight = path.read_bytes(), load(path)["Downstream"]["model.0.weight"].numpy().tobytes()
    place = content.index(weight) + len(weight) // 2
    path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncate, flip, empty])
def test_a_damaged_newest_checkpoint(half_toy, uninterrupted, damage):
    newest = half_toy.folder / "states-8.ckpt"
    damage(newest)
    process = half_toy.finish()
    assert str(newest) in process.err
    assert "trying the one before" in process.err
    assert_same_run(half_toy.folder, uninterrupted())


def test_any_flipped_bit_is_reported_or_changes_nothing(halfway, tmp_path):
    """What no checksum covers is the padding between the members of the file."""
    draw, content, expected = random.Random(0), (halfway / "states-8.ckpt").read_bytes(), load(halfway / "states-8.ckpt")
    damaged, reported = tmp_path / "states-8.ckpt", 0
    for _ in range(200):
        place = draw.randrange(len(content))
        damaged.write_bytes(content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :])
        try:
            assert not list(differences(load(damaged), expected)), f"bit of byte {place}"
        except CheckpointError:
            reported += 1
    assert reported > 50


def test_every_checkpoint_is_damaged(half_toy):
    for path in half_toy.folder.glob("states-*.ckpt"):
        truncate(path)
    process = half_toy.run()
    assert process.status == 2
    assert f"error: none of the checkpoints in {half_toy.folder} can be read (states-8.ckpt" in sentences(process)[-1]


def test_an_evaluation_does_not_touch_a_damaged_checkpoint(half_toy):
    newest = half_toy.folder / "states-8.ckpt"
    flip(newest)
    damaged = newest.read_bytes()
    process = half_toy.evaluate("test", ".")
    assert "trying the one before" in process.err
    assert newest.read_bytes() == damaged
    assert (half_toy.folder / "results" / "states-4" / "test.json").exists()


# ---- a full disk


def full_disk_at_write(toy, nth: int):
    return toy.run(before=FAULTS + "full_disk_at_checkpoint_write", environment={NTH: str(nth)})


def check_after_full_disk(toy, process, expected: Path) -> None:
    """One sentence, readable checkpoints, and a resume that ends as if there had always been space."""
    assert process.status == 2, process.err
    assert "No space left on device" in sentences(process)[-1]
    assert [line for line in sentences(process) if line.startswith("run_downstream.py: error: ")] == sentences(process)[-1:]
    assert "Traceback" not in process.err
    for path in toy.folder.glob("*.ckpt"):
        load(path)
    assert list(toy.folder.glob("*.damaged")) == []
    toy.finish()
    assert_same_run(toy.folder, expected)


@pytest.mark.parametrize("nth", [1, 200, 330])
def test_the_disk_is_full_at_a_write_of_a_checkpoint(make_toy, uninterrupted, nth):
    toy = make_toy()
    process = full_disk_at_write(toy, nth)
    assert sentences(process)[-1].endswith("what was there before is untouched")
    check_after_full_disk(toy, process, uninterrupted())


@pytest.mark.slow
def test_the_disk_is_full_at_many_writes_of_a_checkpoint(make_toy, uninterrupted):
    for nth in range(1, 1000, 15):
        toy = make_toy()
        process = full_disk_at_write(toy, nth)
        if process.status == 0:
            break
        check_after_full_disk(toy, process, uninterrupted())
    assert nth > 300


def full_disk_at_change(toy, nth: int, report: Path | None = None):
    variables = {NTH: str(nth), FOLDER: str(toy.folder), **({REPORT: str(report)} if report else {})}
    return toy.run(before=FAULTS + "full_disk_at_change", environment=variables)


@pytest.fixture(scope="module")
def new_files(make_toy, tmp_path_factory) -> int:
    """How many files a run opens for writing."""
    report = tmp_path_factory.mktemp("report") / "changes"
    full_disk_at_change(make_toy(), 10**6, report)
    return len(report.read_text().splitlines())


@pytest.mark.parametrize("part", [0.0, 0.12, 0.3, 0.98])
def test_no_new_file_can_be_made(make_toy, uninterrupted, new_files, part):
    toy = make_toy()
    check_after_full_disk(toy, full_disk_at_change(toy, 1 + int(part * new_files)), uninterrupted())


@pytest.mark.slow
def test_no_new_file_can_be_made_at_many_moments(make_toy, uninterrupted, new_files):
    for nth in range(1, new_files + 1, 3):
        toy = make_toy()
        check_after_full_disk(toy, full_disk_at_change(toy, nth), uninterrupted())


def test_metrics_find_the_disk_full(half_toy, uninterrupted):
    """The lines go to a device that is always full; what had been written before comes back, and training goes on."""
    metrics = half_toy.folder / "metrics.jsonl"
    kept = metrics.rename(half_toy.place / "kept")
    metrics.symlink_to("/dev/full")
    process = half_toy.run()
    kept.replace(metrics)
    assert sentences(process)[-1].startswith(f"run_downstream.py: error: could not write {metrics}: No space left")
    check_after_full_disk(half_toy, process, uninterrupted())


# ---- two trainers


def wait_for_training(toy, process) -> None:
    """Until the process holds the folder and has logged something."""
    lock, before = toy.folder / ".lock", len(metrics_of(toy.folder)) if (toy.folder / "metrics.jsonl").exists() else 0

    def goes_on() -> bool:
        return lock.exists() and f"process {process.pid} " in lock.read_text() and len(metrics_of(toy.folder)) > before

    processes.wait_until(goes_on, "training goes on")


def test_a_second_trainer_is_refused_and_an_evaluation_is_not(make_toy, uninterrupted):
    toy = make_toy("toy_dealt_task")
    first = toy.start()
    processes.wait_until(lambda: bool(toy.steps), "a checkpoint")
    os.kill(first.pid, signal.SIGSTOP)
    try:
        before = {path: path.read_bytes() for path in toy.folder.rglob("*") if path.is_file()}
        second = toy.run()
        assert second.status == 2
        sentence = f"process {first.pid} on {os.uname().nodename} is training in {toy.folder}"
        assert sentences(second)[-1] == f"run_downstream.py: error: {sentence}"
        toy.evaluate("one", f"states-{toy.steps[-1]}.ckpt")
        assert {path: path.read_bytes() for path in before} == before
    finally:
        os.kill(first.pid, signal.SIGCONT)
    assert first.wait() == 0
    for path in toy.folder.glob("results/states-*/one.json"):
        path.unlink()
    assert_same_run(toy.folder, uninterrupted("toy_dealt_task"))


def test_only_the_trainer_of_a_folder_renames_its_checkpoints(half_toy):
    """Another start changes nothing there; with a place of its own it goes on from what it can read."""
    first = half_toy.start()
    wait_for_training(half_toy, first)
    os.kill(first.pid, signal.SIGSTOP)
    try:
        newest = half_toy.folder / f"states-{half_toy.steps[-1]}.ckpt"
        flip(newest)
        before = {path: path.read_bytes() for path in half_toy.folder.rglob("*.ckpt*")}
        second = half_toy.run()
        assert second.status == 2
        assert f"process {first.pid} on " in sentences(second)[-1]
        assert "damaged" not in second.err
        away = ["-m", "train", "-e", str(half_toy.folder), "-p", str(half_toy.place / "new"), *plugins(), "--device", "cpu"]
        third = half_toy.server.run(away, half_toy.place)
        assert third.status == 0, third.err
        assert "trying the one before" in third.err
        assert {path: path.read_bytes() for path in half_toy.folder.rglob("*.ckpt*")} == before
    finally:
        os.kill(first.pid, signal.SIGKILL)
        os.kill(first.pid, signal.SIGCONT)
        first.wait()


def test_a_checkpoint_to_go_on_from_is_read_under_the_lock(make_toy, uninterrupted, monkeypatch):
    """Otherwise another trainer may have gone further, and ended, before the folder is locked."""
    toy = make_toy()
    shutil.copytree(uninterrupted(), toy.folder)
    real = ExperimentFolder.lock
    order = []

    @contextmanager
    def lock(self):
        order.append("lock")
        with real(self):
            yield

    monkeypatch.setattr(ExperimentFolder, "lock", lock)
    monkeypatch.setattr(checkpoint, "load_latest", lambda *a, **k: order.append("read") or REAL_LOAD_LATEST(*a, **k))
    assert main(toy.argv) == 0
    assert order == ["lock", "read"]


def test_the_lock_of_a_killed_trainer_is_free(half_toy, uninterrupted):
    """Although its loader workers may live a little longer."""
    half_toy.changes = {"downstream_expert": {"datarc": {"num_workers": 2}}}
    first = half_toy.start()
    wait_for_training(half_toy, first)
    first.kill()
    first.wait()
    half_toy.finish()
    assert_same_run(half_toy.folder, uninterrupted())
    processes.wait_until(lambda: processes.of_session(first.pid) == [], "the workers end", 30)


# ---- signals

STATUS = {signal.SIGTERM: 143, signal.SIGINT: 130}


def signalled(toy, at: str, *numbers: signal.Signals):
    variables = {AT: at, SIGNALS: " ".join(str(int(number)) for number in numbers)}
    return toy.run(before=FAULTS + "signal_at", environment=variables)


@pytest.mark.parametrize(
    ("number", "at", "step"),
    [
        (signal.SIGTERM, "build", 1),
        (signal.SIGINT, "update:6", 7),
        (signal.SIGTERM, "update:5", 5),
        (signal.SIGINT, "checkpoint.written:2", 6),
        (signal.SIGTERM, "evaluate.middle:6", 5),
        (signal.SIGINT, "evaluate.middle:20", 17),
    ],
)
def test_a_signal_saves_and_ends(make_toy, uninterrupted, number, at, step):
    toy = make_toy()
    process = signalled(toy, at, number)
    assert process.status == STATUS[number], process.err
    assert toy.steps[-1] == step
    assert f"stopped and saved at step {step} in {toy.folder}" in process.err
    state = load(toy.folder / f"states-{step}.ckpt")
    assert state["Pending"] is (step in (5, 17))
    toy.finish()
    assert_same_run(toy.folder, uninterrupted())


def test_a_made_up_evaluation_is_interrupted_again(make_toy, uninterrupted):
    toy = make_toy()
    assert signalled(toy, "evaluate.middle:6", signal.SIGTERM).status == 143
    assert signalled(toy, "evaluate.middle:6", signal.SIGINT).status == 130
    assert signalled(toy, "build", signal.SIGINT).status == 130
    assert [line["split"] for line in metrics_of(toy.folder)] == ["train"]
    toy.finish()
    assert_same_run(toy.folder, uninterrupted())


@pytest.mark.parametrize(
    ("number", "at"),
    [
        *((signal.SIGTERM, at) for at in ("start", "checkpoint.written:2 twice")),
        *((signal.SIGINT, at) for at in ("start", "update:6 twice", "checkpoint.written:2 twice", "evaluate.middle:6 twice")),
    ],
)
def test_a_signal_that_ends_at_once(make_toy, uninterrupted, number, at):
    """Before training has begun, or the second in a row."""
    toy, status = make_toy(), 130 if number == signal.SIGINT else -number
    place, _, twice = at.partition(" ")
    process = signalled(toy, place, number, *([number] if twice else []))
    assert process.status == status
    assert "Traceback" not in process.err
    toy.finish()
    assert_same_run(toy.folder, uninterrupted())


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (signal.SIGTERM, "evaluation"),
        (signal.SIGINT, "training"),
        pytest.param(signal.SIGTERM, "training", marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, "evaluation", marks=pytest.mark.slow),
    ],
)
def test_a_signal_to_the_whole_group(make_toy, uninterrupted, number, moment):
    """Ctrl-C in a terminal and a scheduler's SIGTERM reach the loader workers as well."""
    toy = make_toy(downstream_expert={"datarc": {"num_workers": 2}})
    process = toy.start()
    split = "train" if moment == "training" else "dev"
    metrics = toy.folder / "metrics.jsonl"
    processes.wait_until(lambda: metrics.exists() and f'"{split}"' in metrics.read_text(), split)
    os.killpg(process.pid, number)
    assert process.wait() == STATUS[number], process.err
    assert "stopped and saved" in process.err
    processes.wait_until(lambda: processes.of_session(process.pid) == [], "the workers end", 30)
    toy.finish()
    assert_same_run(toy.folder, uninterrupted())


@pytest.mark.parametrize("seconds", [0, 0.3, 0.8])
def test_an_interrupt_while_torch_is_imported(repo, tmp_path, seconds):
    words = [sys.executable, str(repo / "run_downstream.py"), "-u", "fbank", "-d", "example", "-p", str(tmp_path), "--device", "cpu"]
    ready = {"stderr": subprocess.PIPE, "text": True, "preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    with subprocess.Popen(words, **ready) as process:  # not ignored, as it is by what a shell starts in the background
        try:
            while "libtorch" not in Path(f"/proc/{process.pid}/maps").read_text():
                time.sleep(0.01)
            time.sleep(seconds)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 128 + signal.SIGINT
    assert "Traceback" not in err


BROKEN = """
import sys
from downstream.training import Trainer
from run_downstream import main

def broken(self):
    raise TypeError("a bug")

Trainer._log = broken
main(sys.argv[1:])
"""


def test_a_bug_beside_loader_workers_ends_the_process(repo, tmp_path):
    """What workers do about signals must not hold up the end of the process that started them."""
    words = ["-u", "mel", "-d", "example", "-p", str(tmp_path), "--device", "cpu", "-o", "config.runner.log_step=1"]
    command = [sys.executable, "-c", BROKEN, *words]
    done = subprocess.run(command, cwd=repo, env={**os.environ, "PYTHONPATH": str(repo)}, capture_output=True, text=True, timeout=50)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "TypeError: a bug"
