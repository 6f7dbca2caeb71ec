"""Foreign pickles: everything the originals wrote is read, and nothing that a file names is ever executed."""

from __future__ import annotations

import argparse
import collections
import copyreg
import functools
import importlib
import io
import os
import pickle
import pickletools
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from utility.errors import CheckpointError, UnsafePickleError
from utility.experiment.rebuild import Record, module_state, record_to_plain
from utility.experiment.unpickle import DamagedCheckpointError, load_foreign


def same(left: Any, right: Any) -> bool:
    if isinstance(left, torch.Tensor):
        return isinstance(right, torch.Tensor) and left.dtype == right.dtype and torch.equal(left, right)
    if isinstance(left, dict):
        alike = type(left) is type(right) or isinstance(right, collections.Counter)
        return alike and list(left) == list(right) and all(same(left[k], right[k]) for k in left)
    if isinstance(left, (list, tuple)):
        return type(left) is type(right) and len(left) == len(right) and all(map(same, left, right))
    return left == right


class Calls:
    """Pickles as a call of ``function`` with ``arguments``."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None):
        self.parts = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.parts


def write(path: Path, value: Any, kind: str) -> Path:
    if kind == "pickle":
        path.write_bytes(pickle.dumps(value, protocol=4))
    elif kind == "protocol 0":
        path.write_bytes(pickle.dumps(value, protocol=0))
    else:
        torch.save(value, path, _use_new_zipfile_serialization=kind == "zip")
    return path


KINDS = ["zip", "stream", "pickle", "protocol 0"]
VALUES: dict[str, Any] = {
    "tensors": {
        name: torch.arange(6).reshape(2, 3).to(getattr(torch, name))
        for name in ("float32", "bfloat16", "float16", "int64", "bool", "uint8")
    },
    "views": [torch.arange(12.0).reshape(3, 4)[1:, ::2], torch.arange(12.0).reshape(3, 4).T, torch.tensor(3.0), torch.empty(0, 3)],
    "plain": {"a": [1, 2.5, "é", None, True, (1, (2,))], "b": {1: {2: b"\x00\xff"}}, "big": 2**100, "empty": [(), {}, [], b""]},
    "containers": {"set": {1, 2}, "frozenset": frozenset({3}), "complex": 1 + 2j, "bytearray": bytearray(b"ab"), "range": range(1, 9, 2)},
    "torch values": [torch.float32, torch.Size([1, 2]), torch.device("cpu"), torch.strided],
    "paths": [Path("/a/b"), Path("c")],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", VALUES)
def test_rebuilt(tmp_path, name, kind):
    assert same(load_foreign(write(tmp_path / "x", VALUES[name], kind)), VALUES[name])


@pytest.mark.parametrize("kind", KINDS)
def test_dict_kinds(tmp_path, kind):
    ordered = collections.OrderedDict(b=1, a=2)
    value = [collections.defaultdict(list, a=[1]), collections.Counter("aab"), argparse.Namespace(x=argparse.Namespace(y=1)), ordered]
    found = load_foreign(write(tmp_path / "x", value, kind))
    assert found == [{"a": [1]}, {"a": 2, "b": 1}, {"x": {"y": 1}}, ordered]
    assert [type(v) for v in found] == [dict, dict, dict, collections.OrderedDict]


@pytest.mark.parametrize("kind", KINDS)
def test_numpy(tmp_path, kind):
    arrays = [np.arange(6, dtype=d).reshape(2, 3) for d in ("f4", "f8", ">i4", "u1", "c16", "f2")]
    arrays.append(np.array([[True], [False]]))
    arrays += [
        np.asfortranarray(arrays[0]),
        np.array(["ab", "c"]),
        np.array([b"ab"]),
        np.array([["x", None]], dtype=object),
        np.zeros((0, 2)),
    ]
    numbers = [np.float32(0.1), np.float64(1e300), np.int64(-5), np.bool_(True), np.str_("é")]
    found = load_foreign(write(tmp_path / "x", [arrays, numbers, np.dtype("f4")], kind))
    for left, right in zip(found[0] + found[1], arrays + numbers, strict=True):
        assert (left.dtype, left.shape) == (right.dtype, right.shape)
        assert np.array_equal(left, right)
    assert found[2] == np.dtype("f4")


@pytest.mark.parametrize("kind", KINDS)
def test_shared_stays_shared(tmp_path, kind):
    part, base = [1], torch.zeros(4)
    loop: list[Any] = [part, part, {"x": part}, base[:2], base[1:]]
    loop.append(loop)
    found = load_foreign(write(tmp_path / "x", loop, kind))
    assert found[0] is found[1] is found[2]["x"]
    assert found[5] is found
    if kind in ("zip", "stream"):
        found[3][1] = 5
        assert found[4][0] == 5


def test_state_dict_and_parameter(tmp_path):
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    torch.save({"state": module.state_dict(), "parameter": torch.nn.Parameter(torch.ones(2))}, tmp_path / "x")
    found = load_foreign(tmp_path / "x")
    assert found["state"]._metadata == module.state_dict()._metadata
    module.load_state_dict(found["state"])
    assert not found["parameter"].requires_grad


@pytest.mark.parametrize("kind", KINDS)
def test_modules_are_read_as_state(tmp_path, kind):
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3), torch.nn.Sequential(torch.nn.Conv1d(1, 1, 1, bias=False)))
    module[1].register_buffer("hidden", torch.ones(1), persistent=False)
    record = load_foreign(write(tmp_path / "x", module, kind))
    assert isinstance(record, Record)
    assert same(dict(module_state(record)), dict(module.state_dict()))
    with pytest.raises(CheckpointError, match="not a pickled torch module"):
        module_state(Record("a", "b"))


def named(module: str, name: str, *, dictlike: bool = False) -> type:
    """A class that pickles under a name of our choice."""
    base = dict if dictlike else object
    return type(name, (base,), {"__module__": module})


def dump_as(monkeypatch, path: Path, value: Any, *classes: type) -> Path:
    """Pickles with the classes importable for a moment."""
    import sys
    import types

    for cls in classes:
        parts = cls.__module__.split(".")
        for end in range(1, len(parts) + 1):
            name = ".".join(parts[:end])
            monkeypatch.setitem(sys.modules, name, sys.modules.get(name) or types.ModuleType(name))
        monkeypatch.setattr(sys.modules[cls.__module__], cls.__name__, cls, raising=False)
    torch.save(value, path)
    monkeypatch.undo()
    return path


def test_named_families_become_records(tmp_path, monkeypatch):
    dictionary, schedule = named("fairseq.data.dictionary", "Dictionary"), named("optimizers", "WarmupLinearSchedule")
    table = named("pytorch_lightning.utilities.parsing", "AttributeDict", dictlike=True)
    a, b, c = dictionary(), schedule(), table(lr=0.1)
    a.symbols, b.warmup, a.owner = ["<s>"], 0.07, b
    found = load_foreign(dump_as(monkeypatch, tmp_path / "x", {"a": a, "b": b, "c": c, "class": dictionary}, dictionary, schedule, table))
    assert (found["a"].module, found["a"].name) == ("fairseq.data.dictionary", "Dictionary")
    assert found["a"].attributes["symbols"] == ["<s>"]
    assert found["a"].attributes["owner"] is found["b"]
    assert found["c"].entries == {"lr": 0.1}
    assert isinstance(found["class"], Record)
    assert record_to_plain(found) == {
        "a": {"symbols": ["<s>"], "owner": {"warmup": 0.07}},
        "b": {"warmup": 0.07},
        "c": {"lr": 0.1},
        "class": "fairseq.data.dictionary.Dictionary",
    }


def test_unnamed_families_are_refused_unless_the_caller_names_them(tmp_path, monkeypatch):
    cls = named("models.resnext", "Net")
    path = dump_as(monkeypatch, tmp_path / "x", cls(), cls)
    with pytest.raises(UnsafePickleError, match=r"models\.resnext\.Net"):
        load_foreign(path)
    assert load_foreign(path, families=["models"]).name == "Net"
    with pytest.raises(UnsafePickleError):
        load_foreign(path, families=["model"])


def test_fairseq_dictconfig(golden):
    found = load_foreign(golden("checkpoints/fairseq_dictconfig.pt"))
    config = record_to_plain(found["cfg"])
    assert config["model"]["_name"] == "hubert"
    assert config["task"]["normalize"] is True
    assert config["model"]["latent_temp"] == [2, 0.5, 0.999995]
    assert config["optimizer"]["lr"] == [0.0005]
    assert config["common"]["user_dir"] is None


def test_fairseq_namespace_in_the_older_format(golden):
    found = load_foreign(golden("checkpoints/fairseq_legacy_args.pt"))
    assert not zipfile.is_zipfile(golden("checkpoints/fairseq_legacy_args.pt"))
    assert type(found["args"]) is dict
    assert found["args"]["arch"] == "wav2vec"
    assert all(isinstance(v, torch.Tensor) for v in found["model"].values())


def test_s3prl_pretraining_in_the_older_format(golden):
    found = load_foreign(golden("checkpoints/mockingjay_legacy.pt"))
    assert "transformer" in found["Config"]
    schedules = [group["schedule"] for group in found["Optimizer"]["param_groups"]]
    assert all((s.module, s.name) == ("optimizers", "WarmupLinearSchedule") for s in schedules)


def test_everything_recorded_loads_as_torch_loads_it(shared):
    base = shared / "golden"
    files = [
        *base.glob("upstreams/*/ckpt*.pt"),
        *base.glob("tasks/**/state.pt"),
        *base.glob("mos/**/*.pkl"),
        *base.glob("enhancement/**/*.pth"),
    ]
    assert len(files) > 100
    compared = 0
    for file in files:
        found = load_foreign(file)
        try:
            expected = torch.load(file, weights_only=True)
        except pickle.UnpicklingError:
            continue
        assert same(found, expected), file
        compared += 1
    assert compared > 60


# ---- hostile files


def attacks(canary: Path) -> dict[str, Any]:
    touch = f"touch {canary}"
    code = f"open({str(canary)!r}, 'w')"
    return {
        "posix.system": Calls(os.system, touch),
        "subprocess.Popen": Calls(importlib.import_module("subprocess").Popen, touch),
        "builtins.eval": Calls(eval, code),
        "builtins.exec": Calls(exec, code),
        "builtins.getattr": Calls(getattr, "x", "upper"),
        "builtins.compile": Calls(compile, code, "x", "exec"),
        "io.open": Calls(open, str(canary), "w"),
        "importlib.import_module": Calls(importlib.import_module, "antigravity"),
        "torch.hub.load": Calls(torch.hub.load, "a/b", "c"),
        "torch.load": Calls(torch.load, str(canary)),
        "torch.serialization.load": Calls(torch.load, str(canary)),
        "functools.partial": functools.partial(os.system, touch),
        "copyreg.add_extension": Calls(copyreg.add_extension, "a", "b", 1),
        "operator.attrgetter": Calls(importlib.import_module("operator").attrgetter, "system"),
        "numpy.load": Calls(np.load, str(canary)),
        "pickle.loads": Calls(pickle.loads, pickle.dumps(Calls(os.system, touch))),
        "builtins.map": map(os.system, [touch]),
    }


PLACES = {
    "itself": lambda v: v,
    "in a dict": lambda v: {"Step": 1, "Downstream": {"w": [torch.ones(1), v]}},
    "as a state": lambda v: Calls(argparse.Namespace, state={"x": v}),
    "in an object array": lambda v: np.array([v, None], dtype=object),
    "as a hook": lambda v: Calls(torch._utils._rebuild_parameter, torch.ones(1), False, v),
    "as an argument": lambda v: Calls(collections.OrderedDict, [("x", v)]),
    "as a factory": lambda v: Calls(collections.defaultdict, None, state=(None, {"default_factory": v})),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
def test_hostile_files_are_refused(tmp_path, kind, place):
    canary = tmp_path / "canary"
    for name, attack in attacks(canary).items():
        path = write(tmp_path / "x", PLACES[place](attack), kind)
        with pytest.raises(UnsafePickleError) as caught:
            load_foreign(path)
        assert name.split(".")[-1] in str(caught.value) or name in ("builtins.map", "torch.serialization.load")
        assert str(path) in str(caught.value)
        assert "nothing of it was executed" in str(caught.value)
    assert not canary.exists()


def test_the_canary_would_sing(tmp_path):
    canary = tmp_path / "canary"
    pickle.loads(pickle.dumps(attacks(canary)["posix.system"]))
    assert canary.exists()


def test_pickle_inside_a_pickle(tmp_path):
    inner = io.BytesIO()
    torch.save(Calls(os.system, f"touch {tmp_path}/canary"), inner)
    with pytest.raises(UnsafePickleError, match=r"posix\.system"):
        load_foreign(write(tmp_path / "x", Calls(torch.storage._load_from_bytes, inner.getvalue()), "pickle"))
    assert not (tmp_path / "canary").exists()


def raw(tmp_path: Path, program: bytes) -> Path:
    (tmp_path / "x").write_bytes(program)
    return tmp_path / "x"


@pytest.mark.parametrize(
    "program",
    [
        b"cposix\nsystem\n(S'touch canary'\ntR.",
        b"(S'touch canary'\niposix\nsystem\n.",
        b"(cposix\nsystem\nS'touch canary'\no.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
        b"\x80\x04\x8c\x05torch\x8c\x0ahub.system\x93.",
        b"c__builtin__\neval\n(S'1'\ntR.",
        b"c__builtin__\ngetattr\n.",
        b"ctorch\nnn.init\n.",
        b"cnumpy.core.multiarray\n_reconstruct.__globals__\n.",
        b"cargparse\nNamespace.__init__\n.",
        b"cargparse\n_sys\n.",
        b"ccollections\nnamedtuple\n.",
        b"ctorch\nload\n.",
        b"ctorch._utils\n_import_dotted_name\n.",
        b"ctorchaudio.nn\nx\n.",
        b"comegaconfx\nx\n.",
        b"cutility.experiment.rebuild\nStub\n.",
    ],
)
def test_hand_written_programs_are_refused(tmp_path, program, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnsafePickleError):
        load_foreign(raw(tmp_path, program))
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "program",
    [
        b"ccollections\nOrderedDict\n(S'__reduce__'\nS'x'\ndb.",  # alters an accepted class
        b"ctorch._utils\n_rebuild_tensor_v2\nN}S'__defaults__'\nNs\x86b.",  # alters an accepted function
        b"cfairseq.x\nY\n)\x81N}S'__class__'\ncfairseq.z\nW\ns\x86b)R.",  # calls an object
        b"ctorch._utils\n_rebuild_tensor_v2\n)R.",
        b"c_codecs\nencode\n(S'6f73'\nS'hex'\ntR.",
        b"c_codecs\nencode\n(S'x'\nS'idna'\ntR.",
        b"cbuiltins\nbytes\n(I99999999999\ntR.",
        b"cbuiltins\nbytearray\n(I99999999999\ntR.",
        b"ccopyreg\n_reconstructor\n(I1\nI2\nNtR.",
        b"cnumpy\ndtype\n(S'V8'\ntR.",
        b"cnumpy\ndtype\n(S'i4,i4'\ntR.",
        b"cnumpy\nndarray\n(I9\ntR.",
        b"c__builtin__\nset\n((lp0\n(lp1\natR.",
        b"\x80\x02(]q\x00h\x00tQ.",
        b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00.",
        b"(" * 10,
        b"]" * 5000 + b"a" * 4999 + b".",
    ],
)
def test_senseless_programs_are_damaged_files(tmp_path, program):
    with pytest.raises(DamagedCheckpointError):
        load_foreign(raw(tmp_path, program))


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [(0, (5,), (1,)), (3, (2,), (1,)), (-1, (2,), (1,)), (0, (2, 2), (4, 1)), (0, (2,), (-1,)), (0, (2,), (1, 1)), (0, (True,), (1,))],
)
def test_tensors_stay_inside_their_storage(tmp_path, offset, size, stride):
    storage = torch.arange(4.0).untyped_storage()
    typed = torch.storage.TypedStorage(wrap_storage=storage, dtype=torch.float32, _internal=True)
    hostile = Calls(torch._utils._rebuild_tensor_v2, typed, offset, size, stride, False, collections.OrderedDict())
    with pytest.raises(DamagedCheckpointError, match="tensor"):
        load_foreign(write(tmp_path / "x", hostile, "zip"))


def rezip(path: Path, change: dict[str, bytes | None]) -> None:
    """Rewrites entries of a torch file, by the end of their name."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    top = next(iter(entries)).split("/")[0]
    entries.update({f"{top}/{name}": data for name, data in change.items()})
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            if data is not None:
                archive.writestr(name, data)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"data.pkl": None}, "without data.pkl"),
        ({"data/0": None}, "damaged"),
        ({"data/0": b"1234"}, "storage 0 of 4 bytes should have 3 elements"),
        ({"byteorder": b"big"}, "big-endian"),
        ({"constants.pkl": b""}, "TorchScript"),
    ],
)
def test_altered_zip_files(tmp_path, change, sentence):
    path = write(tmp_path / "x", {"w": torch.ones(3)}, "zip")
    rezip(path, {})
    assert torch.equal(load_foreign(path)["w"], torch.ones(3))
    rezip(path, change)
    with pytest.raises(DamagedCheckpointError, match=sentence):
        load_foreign(path)


def test_a_zip_entry_larger_than_its_file(tmp_path):
    """Compressed zeros, which would fill the memory."""
    path = write(tmp_path / "x", {"w": torch.ones(3)}, "zip")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data/7", bytes(1_000_000))
    assert path.stat().st_size < 100_000
    with pytest.raises(DamagedCheckpointError, match="a zip file with an entry larger than itself"):
        load_foreign(path)


@pytest.mark.parametrize("name", ["builtins\nset", "builtins\nlist", "torch\nSize", "builtins\nbytes"])
@pytest.mark.parametrize("numbers", [(1 << 24,), (0, -(1 << 70), -1)])
def test_a_range_that_would_fill_the_memory(tmp_path, name, numbers):
    made = pickle.dumps(range(*numbers), protocol=2).removeprefix(b"\x80\x02").removesuffix(b".").replace(b"__builtin__", b"builtins")
    path = raw(tmp_path, b"\x80\x02c" + name.encode() + b"\n" + made.replace(b"xrange", b"range") + b"\x85R.")
    with pytest.raises(DamagedCheckpointError, match="a range of more than 1048576 numbers"):
        load_foreign(path)
    (tmp_path / "few").write_bytes(pickle.dumps([range(0, 100_000, 7)], protocol=2))
    assert load_foreign(tmp_path / "few") == [range(0, 100_000, 7)]


def test_a_storage_of_two_types(tmp_path):
    """The first would be read as the second."""
    storage = b"(X\x07\0\0\0storagectorch\n%sStorage\nX\x01\0\0\0kX\x03\0\0\0cpuK\x01tQ"
    path = raw(tmp_path, b"\x80\x02(" + storage % b"Float" + storage % b"Int" + b"t.")
    with pytest.raises(DamagedCheckpointError, match="storage k has two types"):
        load_foreign(path)


@pytest.mark.parametrize(
    ("method", "sentence"), [(zipfile.ZIP_DEFLATED, "Error -3 while decompressing"), (zipfile.ZIP_LZMA, "compressed in an unusual way")]
)
def test_an_entry_that_a_flipped_bit_calls_compressed(tmp_path, method, sentence):
    path = write(tmp_path / "x", {"w": torch.ones(3)}, "zip")
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(next(name for name in archive.namelist() if name.endswith("byteorder")))
    data = bytearray(path.read_bytes())
    directory = data.rindex(b"PK\x01\x02", 0, data.rindex(info.filename.encode()))
    for header, place in ((info.header_offset, 8), (directory, 10)):
        data[header + place : header + place + 2] = struct.pack("<H", method)
    path.write_bytes(data)
    with pytest.raises(DamagedCheckpointError, match=sentence):
        load_foreign(path)


def test_a_number_of_the_memo_that_would_fill_the_memory(tmp_path):
    with pytest.raises(DamagedCheckpointError, match="the number 1879048192 for a value at byte 3"):
        load_foreign(raw(tmp_path, b"\x80\x02]r" + struct.pack("<I", 0x70000000) + b"."))
    assert load_foreign(raw(tmp_path, b"\x80\x02]r" + struct.pack("<I", 60000) + b".")) == []


def test_stream_with_a_count_that_lies(tmp_path):
    path = write(tmp_path / "x", torch.ones(3), "stream")
    data = path.read_bytes()
    assert data.endswith(struct.pack("<q3f", 3, 1, 1, 1))
    path.write_bytes(data[:-20] + struct.pack("<q3f", 2**60, 1, 1, 1))
    with pytest.raises(DamagedCheckpointError):
        load_foreign(path)


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_at_any_byte(tmp_path, kind):
    data = write(tmp_path / "x", {"w": torch.ones(3), "n": np.arange(3)}, kind).read_bytes()
    for end in range(0, len(data), max(1, len(data) // 60)):
        (tmp_path / "y").write_bytes(data[:end])
        with pytest.raises(DamagedCheckpointError):
            load_foreign(tmp_path / "y")


OPCODES = [op.code.encode("latin1") for op in pickletools.opcodes]
GLOBALS = [
    b"ccollections\nOrderedDict\n",
    b"cargparse\nNamespace\n",
    b"cnumpy\ndtype\n",
    b"cfairseq.x\nY\n",
    b"cbuiltins\nset\n",
    b"c_codecs\nencode\n",
]
programs = st.lists(st.sampled_from([*OPCODES, *GLOBALS, b"S'a'\n", b"I1\n", b")", b"}", b"]", b"(", b"t", b"R", b"b"]), max_size=25)


@settings(max_examples=200, deadline=None)
@given(programs.map(b"".join) | st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(tmp_path_factory, program):
    path = tmp_path_factory.getbasetemp() / "fuzzed.pkl"
    path.write_bytes(program + b".")
    try:
        load_foreign(path)
    except CheckpointError as error:
        assert "\n" not in str(error)


def test_missing_file(tmp_path):
    with pytest.raises(CheckpointError, match="could not read"):
        load_foreign(tmp_path / "nothing.pt")
    with pytest.raises(CheckpointError, match="could not read"):
        load_foreign(tmp_path)
