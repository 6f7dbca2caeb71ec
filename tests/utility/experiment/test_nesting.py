"""Small files whose values hold one another without end: refused at once, where they would take for ever or end the process."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from utility.errors import CheckpointError
from utility.experiment import nesting
from utility.experiment.nesting import Unreadable, nest_of
from utility.experiment.rebuild import Record, module_state, record_to_plain
from utility.experiment.unpickle import DamagedCheckpointError, load_foreign
from utility.networks import exported

LEVELS = 60
SECONDS = 60  # of which nearly all are the import of torch


def pairs(pair: bytes, before: bytes = b"(") -> bytes:
    """A value that holds the one below twice, LEVELS deep; ``before`` and ``pair`` go around the two."""
    program = b")q\x00"
    for level in range(LEVELS):
        program += before + (b"h" + bytes([level])) * 2 + pair + b"q" + bytes([level + 1])
    return program


PROGRAMS = {
    "value": pairs(b"t") + b".",
    "key": b"}" + pairs(b"t") + b"K\x01s.",
    "member of a set": b"\x8f(" + pairs(b"t") + b"\x90.",
    "frozen sets": pairs(b"\x91") + b".",
    "tuples that are called": b"}" + pairs(b"l\x85R", b"cbuiltins\ntuple\n(") + b"K\x01s.",
    "deep": b"})" + b"\x85" * 1_000_000 + b"K\x01s.",
}


READ = """
import sys
from utility.errors import CheckpointError
from utility.experiment.unpickle import load_foreign
for path in sys.argv[1:]:
    try:
        load_foreign(path)
    except CheckpointError as error:
        print(error, flush=True)
"""


def test_bombs_are_refused_at_once(tmp_path, repo):
    """In a process of its own: what hashes a key without end cannot be interrupted."""
    paths = [tmp_path / f"{name}.pkl" for name in PROGRAMS]
    for path, program in zip(paths, PROGRAMS.values(), strict=True):
        path.write_bytes(b"\x80\x04" + program)
    done = subprocess.run([sys.executable, "-c", READ, *paths], cwd=repo, timeout=SECONDS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert [line.partition(" is ")[0] for line in said] == [str(path) for path in paths]
    assert all("is damaged or not a checkpoint (tuples within tuples" in line for line in said), said


def test_shared_tuples_stay_shared_and_ordinary_ones_are_let_pass(tmp_path):
    one = (1, (2, 3))
    many = tuple((i, (i, i)) for i in range(50_000))
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"a": [one, one], "b": frozenset([one]), "c": many}))
    read = load_foreign(tmp_path / "x.pkl")
    assert read == {"a": [one, one], "b": frozenset([one]), "c": many} and read["a"][0] is read["a"][1]
    with pytest.raises(Unreadable, match="501 deep"):
        nest_of([(1, nesting.DEEPEST)])


def shared_lists(levels: int = LEVELS) -> list:
    value: list = []
    for _ in range(levels):
        value = [value, value]
    return value


def test_settings_that_hold_one_another_without_end(monkeypatch):
    """Lists and dicts may be shared, so they are read; walking them part by part has an end."""
    monkeypatch.setattr(nesting, "MOST_PARTS", 1 << 12)
    with pytest.raises(CheckpointError, match="the settings in a checkpoint have more than"):
        record_to_plain({"cfg": shared_lists()})
    assert record_to_plain(shared_lists(3)) == shared_lists(3)
    with pytest.raises(CheckpointError, match=r"the settings in x\.pt have more than"), exported.loading("apc"):
        content = {exported.MARK: {"family": "apc", "entry": "apc", "outline": {"a": shared_lists()}, "state": {}}}
        exported.outline(content, Path("x.pt"))


def test_a_module_that_holds_another_twice_at_each_level(monkeypatch):
    monkeypatch.setattr(nesting, "MOST_PARTS", 1 << 12)
    module = Record("torch.nn", "M", state={"_parameters": {}, "_modules": {}})
    for _ in range(LEVELS):
        module = Record("torch.nn", "M", state={"_parameters": {}, "_modules": {"a": module, "b": module}})
    with pytest.raises(CheckpointError, match="the modules in a checkpoint have more than"):
        module_state(module)


def test_what_the_walk_cannot_follow_is_left_to_the_unpickler(tmp_path):
    (tmp_path / "x.pkl").write_bytes(b"\x80\x04\x86.")  # a pair of nothing
    with pytest.raises(DamagedCheckpointError):
        load_foreign(tmp_path / "x.pkl")
