"""Checkpoints: nothing is lost, whatever happens at whatever moment."""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from utility.errors import CheckpointError, UnsafePickleError
from utility.experiment import checkpoint
from utility.experiment.checkpoint import DamagedCheckpointError, load, load_latest, prune, resolve, save
from utility.experiment.folder import ExperimentFolder


def state(step: int) -> dict:
    return {
        "Step": step,
        "Downstream": torch.nn.Linear(3, 2).state_dict(),
        "Args": {"expdir": Path("x"), "names": {"a", "b"}},
        "Config": {"runner": {"total_steps": 5}},
        "score": np.float32(0.1),
    }


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def save_steps(folder: Path, *steps: int) -> None:
    for step in steps:
        save(state(step), [folder / f"states-{step}.ckpt"])


def test_round_trip(tmp_path):
    given = state(3)
    save(given, [tmp_path / "states-3.ckpt", tmp_path / "dev-best.ckpt"])
    assert names(tmp_path) == ["dev-best.ckpt", "states-3.ckpt"]
    assert (tmp_path / "dev-best.ckpt").read_bytes() == (tmp_path / "states-3.ckpt").read_bytes()
    torch.load(tmp_path / "states-3.ckpt", weights_only=True)
    back = load(tmp_path / "dev-best.ckpt")
    assert torch.equal(back["Downstream"]["weight"], given["Downstream"]["weight"])
    assert back["Args"] == given["Args"]
    assert back["score"] == float(np.float32(0.1))


def test_numbered_state_is_written_last(tmp_path, monkeypatch):
    order = []
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, target: (order.append(Path(target).name), replace(self, target))[1])
    save(state(1), [tmp_path / "states-1.ckpt", tmp_path / "dev-best.ckpt", tmp_path / "test-best.ckpt"])
    assert order[-1] == "states-1.ckpt"
    assert sorted(order) == names(tmp_path)


def test_prune_keeps_the_newest(tmp_path):
    save_steps(tmp_path, 9, 10, 100)
    (tmp_path / "dev-best.ckpt").write_bytes(b"")
    assert prune(tmp_path, 5) == []
    assert [p.name for p in prune(tmp_path, 2)] == ["states-9.ckpt"]
    assert prune(tmp_path, 1)[0].name == "states-10.ckpt"
    assert names(tmp_path) == ["dev-best.ckpt", "states-100.ckpt"]


@pytest.mark.parametrize("calls", [0, 1, 3, 7])
def test_full_disk(tmp_path, monkeypatch, calls):
    save_steps(tmp_path, 1)
    before = (tmp_path / "states-1.ckpt").read_bytes()
    count = iter(range(1000))

    def full(handle, data):
        if next(count) < calls:
            return handle.write(data)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint, "_write", full)
    for name in ("states-1.ckpt", "states-2.ckpt"):
        with pytest.raises(CheckpointError) as caught:
            save(state(2), [tmp_path / name])
        assert str(caught.value) == f"could not write {tmp_path / name}: No space left on device; what was there before is untouched"
    assert names(tmp_path) == ["states-1.ckpt"]
    assert (tmp_path / "states-1.ckpt").read_bytes() == before


def test_full_disk_at_the_second_name(tmp_path, monkeypatch):
    save(state(1), [tmp_path / "dev-best.ckpt", tmp_path / "states-1.ckpt"])
    before = (tmp_path / "states-1.ckpt").read_bytes()
    monkeypatch.setattr(checkpoint, "_CHUNK", 1000)
    written = iter(range(1000))
    opened = []

    def full(handle, data):
        if handle not in opened:
            opened.append(handle)
        if len(opened) == 2 and next(written) > 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return handle.write(data)

    monkeypatch.setattr(checkpoint, "_write", full)
    with pytest.raises(CheckpointError, match=r"states-1\.ckpt: No space left"):
        save(state(2), [tmp_path / "dev-best.ckpt", tmp_path / "states-1.ckpt"])
    assert names(tmp_path) == ["dev-best.ckpt", "states-1.ckpt"]
    assert (tmp_path / "states-1.ckpt").read_bytes() == before
    assert load(tmp_path / "dev-best.ckpt")["Step"] == 2


def test_missing_folder(tmp_path):
    with pytest.raises(CheckpointError, match="could not write"):
        save(state(1), [tmp_path / "nowhere" / "states-1.ckpt"])


def test_what_has_no_plain_form_leaves_nothing(tmp_path):
    with pytest.raises(TypeError, match=r"state\['x'\]"):
        save({"Step": 1, "x": object()}, [tmp_path / "states-1.ckpt"])
    assert names(tmp_path) == []


KILLED = """
import os, sys, torch
from pathlib import Path
from utility.experiment import checkpoint
from utility.experiment.folder import ExperimentFolder
from utility.experiment.killpoints import VARIABLE

def run(folder, where):
    os.environ[VARIABLE] = where
    folder = ExperimentFolder(folder)
    with folder.lock():
        for step in (1, 2, 3):
            best = [folder.path / "dev-best.ckpt"] if step == 2 else []
            state = {"Step": step, "Downstream": {"w": torch.full((1000,), float(step))}}
            checkpoint.save(state, [folder.path / f"states-{step}.ckpt", *best])
            checkpoint.prune(folder.path, 1)

for where in sys.argv[2:]:
    child = os.fork()
    if child == 0:
        run(Path(sys.argv[1]) / where, where)
        os._exit(0)
    print(where, os.waitpid(child, 0)[1])
"""

# Place and visit -> the step that a resumed run finds. Steps 1, 2, 3 are saved; step 2 writes two files and is the first to remove one.
PLACES = {
    "checkpoint.written": None,
    "checkpoint.written:3": 1,
    "checkpoint.written:4": 2,
    "checkpoint.before_rename:3": 1,
    "checkpoint.before_remove": 2,
    "checkpoint.before_remove:2": 3,
    "nowhere": 3,
}


def test_killed_at_any_place(tmp_path, repo):
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), *PLACES], cwd=repo, capture_output=True, text=True, check=True)
    statuses = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())
    assert statuses == {where: str(0 if where == "nowhere" else int(signal.SIGKILL)) for where in PLACES}
    for where, step in PLACES.items():
        folder = ExperimentFolder(tmp_path / where)
        with folder.lock():
            assert not list(folder.path.glob(".*.tmp-*"))
            if step is None:
                assert folder.latest() is None
                continue
            found, path = load_latest(folder)
        assert (found["Step"], path.name) == (step, f"states-{step}.ckpt")
        assert torch.equal(found["Downstream"]["w"], torch.full((1000,), float(step)))
        for file in folder.path.glob("*.ckpt"):
            load(file)
        assert step < 2 or load(folder.path / "dev-best.ckpt")["Step"] == 2


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "flipped":
        place = data.index(np.float32(7.25).tobytes() * 4)
        data[place + 1] ^= 1
    if how == "disks":  # the file says that it goes on on another disk, at which Python's zipfile.is_zipfile raises an error
        data[data.rindex(b"PK\x06\x07") + 16] ^= 2
    whole = data if how in ("flipped", "disks") else None
    path.write_bytes(whole or {"truncated": data[: len(data) // 2], "empty": b"", "text": b"hello\n", "zeros": bytes(len(data))}[how])


@pytest.mark.parametrize("how", ["truncated", "empty", "flipped", "disks", "text", "zeros"])
def test_damaged_newest_is_reported_and_passed_over(tmp_path, caplog, how):
    save_steps(tmp_path, 1)
    save({"Step": 2, "Downstream": {"w": torch.full((100,), 7.25)}}, [tmp_path / "states-2.ckpt"])
    damage(tmp_path / "states-2.ckpt", how)
    with pytest.raises(DamagedCheckpointError, match=r"states-2\.ckpt"):
        load(tmp_path / "states-2.ckpt")
    with caplog.at_level(logging.WARNING):
        found, path = load_latest(tmp_path, keep_damaged_name=True)
        assert names(tmp_path) == ["states-1.ckpt", "states-2.ckpt"]
        found, path = load_latest(ExperimentFolder(tmp_path))
    assert (found["Step"], path.name) == (1, "states-1.ckpt")
    assert names(tmp_path) == ["states-1.ckpt", "states-2.ckpt.damaged"]
    assert "states-2.ckpt" in caplog.text
    assert "\n" not in caplog.records[0].getMessage()


def test_none_readable(tmp_path):
    with pytest.raises(CheckpointError, match="holds no states"):
        load_latest(tmp_path)
    for name in ("states-1.ckpt", "states-2.ckpt"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"none of the checkpoints in .* can be read \(states-2\.ckpt, states-1\.ckpt\)"):
        load_latest(tmp_path)


def test_pruned_while_reading(tmp_path, monkeypatch):
    save_steps(tmp_path, 1, 2)
    real = checkpoint.load

    def racing(path):
        if Path(path).name == "states-2.ckpt":
            save_steps(tmp_path, 3)
            Path(path).unlink()
        return real(path)

    monkeypatch.setattr(checkpoint, "load", racing)
    assert load_latest(tmp_path)[0]["Step"] == 3


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda p: p.mkdir(), "is a folder"),
        (lambda p: None, "there is no checkpoint"),
        (lambda p: p.write_bytes(b""), "is empty"),
        (lambda p: p.write_bytes(b"<!DOCTYPE html>"), "is a web page"),
        (lambda p: p.write_bytes(b"version https://git-lfs.github.com/spec/v1\n"), "git LFS pointer"),
        (lambda p: torch.save([1], p), "it holds a list"),
        (lambda p: torch.save({"model": 1}, p), "it holds keys model"),
        (lambda p: torch.save({}, p), "is not a training checkpoint"),
        (lambda p: p.write_bytes(b"PK\x03\x04 and no more"), "is truncated"),
        (lambda p: p.write_text(json.dumps({"Step": 1})), "damaged or not a checkpoint"),
    ],
)
def test_load_says_what_is_wrong(tmp_path, make, sentence):
    path = tmp_path / "states-1.ckpt"
    make(path)
    with pytest.raises(CheckpointError) as caught:
        load(path)
    assert sentence in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_hostile_checkpoint_is_refused_and_kept(tmp_path):
    save_steps(tmp_path, 1)
    torch.save({"Step": 1, "Downstream": os.system}, tmp_path / "states-2.ckpt")
    with pytest.raises(UnsafePickleError, match=r"posix\.system"):
        load(tmp_path / "states-2.ckpt")
    with pytest.raises(UnsafePickleError):
        load_latest(tmp_path)
    assert names(tmp_path) == ["states-1.ckpt", "states-2.ckpt"]


def test_resolve(tmp_path):
    with pytest.raises(CheckpointError, match="holds no states"):
        resolve(tmp_path)
    (tmp_path / "dev-best.ckpt").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"did you mean 'dev-best\.ckpt'"):
        resolve(tmp_path / "dev-bets.ckpt")
    save_steps(tmp_path, 9, 10)
    assert resolve(tmp_path) == tmp_path / "states-10.ckpt"
    assert resolve(str(tmp_path / "dev-best.ckpt")) == tmp_path / "dev-best.ckpt"
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        resolve(tmp_path / "nowhere" / "x")


def test_s3prl_checkpoint(golden):
    found = load(golden("checkpoints/s3prl_bertadam.pt"))
    assert {"Args", "Config", "Downstream", "Featurizer", "Optimizer", "Step", "Epoch"} == set(found)
    assert type(found["Args"]) is dict
    assert found["Args"]["upstream"] == "fbank"
    assert found["Config"]["runner"]["total_steps"] > 0
    assert all(isinstance(v, torch.Tensor) for v in found["Downstream"].values())
