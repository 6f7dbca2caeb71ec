"""The experiment folder: one trainer, runs put aside whole, logs cut back to a checkpoint."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from utility.errors import FolderInUseError, UsageError
from utility.experiment.folder import ExperimentFolder, time_tag

HOLDER = """
import os, sys, time
from utility.experiment.folder import ExperimentFolder
with ExperimentFolder(sys.argv[1]).lock():
    child = os.fork() if "fork" in sys.argv else None
    if child == 0:
        sys.stdin.read()
        os._exit(0)
    print("held", flush=True)
    if child:
        os.kill(os.getpid(), 9)
    sys.stdin.readline()
print("released", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def folder(tmp_path: Path) -> ExperimentFolder:
    return ExperimentFolder(tmp_path / "my.exp-1.ckpt")


def touch(folder: ExperimentFolder, *names: str) -> None:
    for name in names:
        path = folder.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def content(path: Path) -> set[str]:
    return {str(p.relative_to(path)) for p in path.rglob("*") if p.is_file()}


def test_states_sort_by_number(folder):
    assert folder.states() == []
    assert folder.latest() is None
    touch(folder, "states-9.ckpt", "states-10.ckpt", "states-100.ckpt", "states-x.ckpt", "states-11.ckpt.damaged", "best-states-dev.ckpt")
    (folder.path / "states-500.ckpt").mkdir()
    assert [step for step, _ in folder.states()] == [9, 10, 100]
    assert folder.latest() == folder.path / "states-100.ckpt"


@pytest.mark.parametrize("name", ["states-1.ckpt", "dev-best.ckpt", "log.log", "metrics.jsonl", "events.out.tfevents.1.host"])
def test_holds_run(folder, name):
    assert not folder.holds_run()
    touch(folder, "my_notes.txt", ".lock", "previous-1/states-1.ckpt")
    assert not folder.holds_run()
    touch(folder, name)
    assert folder.holds_run()


def test_set_aside_moves_the_run_whole(folder):
    assert folder.set_aside("t") is None
    touch(folder, "states-1.ckpt", "log.log", "results/dev-best/test.json", "previous-old/states-1.ckpt", ".lock", "args_x.yaml")
    assert folder.set_aside("t") == folder.path / "previous-t"
    assert content(folder.path) == {
        ".lock",
        "previous-old/states-1.ckpt",
        *(f"previous-t/{name}" for name in ("states-1.ckpt", "log.log", "results/dev-best/test.json", "args_x.yaml")),
    }
    touch(folder, "log.log")
    assert folder.set_aside("t") == folder.path / "previous-t-2"
    assert folder.set_aside("t") is None


def test_set_aside_after(folder):
    touch(folder, "states-5.ckpt", "states-10.ckpt", "states-20.ckpt", "dev-best.ckpt")
    assert folder.set_aside_after(20, "t") is None
    assert folder.set_aside_after(5, "t") == folder.path / "previous-t"
    assert content(folder.path) == {"states-5.ckpt", "dev-best.ckpt", "previous-t/states-10.ckpt", "previous-t/states-20.ckpt"}


@pytest.mark.parametrize(
    ("checkpoint", "expected"),
    [(None, "initial"), ("states-10.ckpt", "states-10"), (Path("/a.b/dev-best.ckpt"), "dev-best"), ("a.b.ckpt", "a.b")],
)
def test_results(folder, checkpoint, expected):
    assert folder.results(checkpoint) == folder.path / "results" / expected


def test_settings(folder):
    shared = ["dev"]
    args = argparse.Namespace(seed=1, place=Path("/x"), pair=(1, 2))
    folder.dump_settings(args, {"b": {"z": None, "a": 1e-4}, "a": shared, "c": shared}, "tag")
    text = (folder.path / "config_tag.yaml").read_text()
    assert "&" not in text
    assert list(yaml.safe_load(text)) == ["a", "b", "c"]
    assert yaml.safe_load(text)["b"] == {"a": 1e-4, "z": None}
    assert yaml.safe_load((folder.path / "args_tag.yaml").read_text()) == {"seed": 1, "place": "/x", "pair": [1, 2]}
    folder.dump_settings({"a": 1}, {}, "other")
    assert (folder.path / "args_other.yaml").read_text() == "a: 1\n"


def test_backup(folder, tmp_path):
    source = tmp_path / "model.v2.yaml"
    source.write_text("x: 1")
    assert folder.backup(source, "tag") == folder.path / "model.v2_tag.yaml"
    assert (folder.path / "model.v2_tag.yaml").read_text() == "x: 1"


def test_time_tag():
    import time

    time.strptime(time_tag(), "%Y-%m-%d-%H-%M-%S")


def test_logs_are_cut_back(folder):
    touch(folder, "log.log")
    sizes = folder.sizes(["log.log", "metrics.jsonl"])
    assert sizes == {"log.log": 7, "metrics.jsonl": 0}
    (folder.path / "log.log").write_text("log.log and more")
    (folder.path / "metrics.jsonl").write_text("{}\n")
    assert folder.truncate(sizes) == ["log.log", "metrics.jsonl"]
    assert (folder.path / "log.log").read_text() == "log.log"
    assert (folder.path / "metrics.jsonl").read_text() == ""
    assert folder.truncate({"log.log": 100, "missing": 3}) == []
    assert (folder.path / "log.log").read_text() == "log.log"


def hold(folder: ExperimentFolder, repo: Path, *how: str) -> subprocess.Popen[str]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder.path), *how], cwd=repo, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    return holder


def test_second_trainer_is_refused(folder, repo):
    with hold(folder, repo) as holder:
        with pytest.raises(FolderInUseError, match=rf"process {holder.pid} on \S+ is training in .*my\.exp-1"), folder.lock():
            pass
        print("", file=holder.stdin, flush=True)
        assert holder.stdout.readline() == "released\n"
        with folder.lock():
            assert (folder.path / ".lock").read_text().startswith(f"process {os.getpid()} on ")
        holder.stdin.close()


def test_lock_dies_with_its_holder_even_if_children_live(folder, repo):
    with hold(folder, repo, "fork") as holder:
        holder.wait()
        assert holder.returncode == -9
        with folder.lock():
            pass
        holder.stdin.close()


def test_one_process_cannot_lock_twice(folder):
    with folder.lock():
        with pytest.raises(FolderInUseError, match="this process"), ExperimentFolder(folder.path).lock():
            pass
        with pytest.raises(FolderInUseError), folder.lock():
            pass
    with folder.lock():
        pass


def test_lock_removes_what_killed_writers_left(folder):
    touch(folder, ".states-5.ckpt.tmp-1-abc", "states-4.ckpt", ".hidden")
    with folder.lock():
        assert content(folder.path) == {".lock", "states-4.ckpt", ".hidden"}


def test_place_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot make the experiment folder"), ExperimentFolder(tmp_path / "file" / "x").lock():
        pass
