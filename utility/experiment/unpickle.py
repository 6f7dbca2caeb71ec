"""Reading pickles that others made, without running anything of them.

``torch.load`` and ``pickle.load`` call whatever a file names. :func:`load_foreign` reads in two steps: the file is turned into an inert
graph, in which every named class or function is a :class:`Stub` that only notes what it was given; then
:mod:`utility.experiment.rebuild` makes values of it. What a name may be, in three tiers (specs/upstreams.md, section 14):

1. rebuilt: tensors, plain containers, numpy arrays and numbers, paths; ``argparse.Namespace`` becomes a dict;
2. kept as an inert :class:`~utility.experiment.rebuild.Record`: the families of :data:`FAMILIES`, nothing of which is imported;
3. everything else is refused by name, whatever the file wants to do with it.

Formats: torch's zip files, torch's older streams of pickles (before 1.6), and plain pickles, with torch tensors in them or not.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from utility.errors import CheckpointError, UnsafePickleError
from utility.experiment.memo import check_memo
from utility.experiment.rebuild import DTYPES, REBUILT, TORCH_VALUES, Rebuilder, Storage, Stub, Unreadable

FAMILIES = (
    "omegaconf",
    "fairseq",
    "fairseq_cli",
    "s3prl",
    "optimizers",
    "schedulers",
    "torch.nn",
    "torch.optim",
    "pytorch_lightning",
    "lightning",
    "lightning_fabric",
    "lightning_utilities",
    "typing",
    "datetime",
    "numpy.random",
    "numpy.dtypes",
)
"""Packages whose classes are kept as records."""

_PYTHON2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}
_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001

_DAMAGE = (
    pickle.UnpicklingError,
    Unreadable,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    AttributeError,
    IndexError,
    KeyError,
    TypeError,
    ValueError,
    OverflowError,
    RuntimeError,
    MemoryError,
    AssertionError,
    NotImplementedError,
)


class DamagedCheckpointError(CheckpointError):
    """The file was a checkpoint, or should be one, and cannot be read: truncated, altered, or something else altogether."""


class _Unpickler(pickle.Unpickler):
    """Makes stubs of everything that a pickle names, and refuses the third tier; the pickle starts where the file is."""

    def __init__(self, file: IO[bytes], families: tuple[str, ...]):
        check_memo(file)
        super().__init__(file, encoding="latin1")
        self.families = families
        self.stubs: dict[tuple[str, str], type[Stub]] = {}
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str) -> type[Stub]:
        module = _PYTHON2.get(module, module)
        if module.startswith("numpy.core."):
            module = "numpy._core." + module.removeprefix("numpy.core.")
        if not _accepted(module, name, self.families):
            raise UnsafePickleError(f"names {module}.{name}, which is none of the names that are accepted; nothing of it was executed")
        if (module, name) not in self.stubs:
            self.stubs[module, name] = type("Stub", (Stub,), {"__slots__": (), "origin": (module, name)})
        return self.stubs[module, name]

    def persistent_load(self, pid: Any) -> Storage | type[Stub]:
        """``('storage', type, key, location, count)``, in the older format with ``(view key, offset, count)`` or None behind.

        The older format also has ``('module', class, file, source code)``, which means the class.
        """
        if pid[0] == "module" and isinstance(pid[1], type) and issubclass(pid[1], Stub):
            return pid[1]
        kind, storage_type, key, _, count, *view = pid
        if kind != "storage" or not isinstance(key, str) or not isinstance(count, int):
            raise pickle.UnpicklingError("an unknown persistent id")
        dtype = DTYPES[storage_type.origin[1]]
        base = self.storages.setdefault(key, Storage(key, dtype, count))
        if base.dtype != dtype:
            raise pickle.UnpicklingError(f"storage {key} has two types")
        if view and view[0] is not None:
            _, offset, length = view[0]
            return Storage(key, dtype, length, base, offset)
        return base


def _accepted(module: str, name: str, families: Iterable[str]) -> bool:
    if (module, name) in REBUILT or (module == "torch" and (name in DTYPES or name in TORCH_VALUES)):
        return True
    return any(module == family or module.startswith(family + ".") for family in families)


def load_foreign(path: str | Path, families: Iterable[str] = ()) -> Any:
    """Reads a pickle or torch file of any origin onto the CPU.

    Args:
        path: the file.
        families: more packages whose classes become records, e.g. ``("models",)`` for a pickled module of a known project.

    Returns:
        What the file holds; tensors without gradient, one storage for those that shared one.

    Raises:
        UnsafePickleError: the file names something outside the accepted names; nothing was executed.
        DamagedCheckpointError: truncated, altered, or not such a file; CheckpointError: missing or unreadable.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            return _load(file, (*FAMILIES, *families))
    except UnsafePickleError as error:
        raise UnsafePickleError(f"{path} {error}") from None
    except OSError as error:
        raise CheckpointError(f"could not read {path}: {error.strerror or error}") from error
    except _DAMAGE as error:
        raise DamagedCheckpointError(f"{path} {_what_is_wrong(path, error)}") from error


def is_zip(path: Path) -> bool:
    """Whether a file ends as zip files do; Python's own check raises an error at some damaged ends."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:
        return False


def _what_is_wrong(path: Path, error: BaseException) -> str:
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        return "is empty"
    if head.startswith(b"version https://git-lfs"):
        return "is a git LFS pointer: the file itself was never downloaded"
    if head.lstrip()[:1] == b"<":
        return "is a web page: the download went wrong"
    if head.startswith(b"PK\x03\x04") and not is_zip(path):
        return "is truncated"
    if isinstance(error, EOFError):
        return "is truncated or not a checkpoint"
    text = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
    return f"is damaged or not a checkpoint ({text})"


def _load(file: IO[bytes], families: tuple[str, ...]) -> Any:
    start = file.tell()
    if file.read(4) == b"PK\x03\x04":
        file.seek(start)
        return _load_zip(file, families)
    file.seek(start)
    unpickler = _Unpickler(file, families)
    first = unpickler.load()
    if type(first) is int and first == _MAGIC:
        return _load_stream(file, families)
    return _rebuilder(families).rebuild(first)


def _rebuilder(families: tuple[str, ...]) -> Rebuilder:
    return Rebuilder(load_bytes=lambda data: _load(io.BytesIO(data), families))


def _load_zip(file: IO[bytes], families: tuple[str, ...]) -> Any:
    """``<top>/data.pkl`` and ``<top>/data/<key>``, uncompressed."""
    size = file.seek(0, io.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        entries = {info.filename: info for info in archive.infolist()}
        if any(name.endswith("/constants.pkl") for name in entries):
            raise Unreadable("a TorchScript archive, which is a program")
        top = next((name.removesuffix("data.pkl") for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")), None)
        if top is None:
            raise Unreadable("a zip file without data.pkl")
        if any(info.file_size > size for info in entries.values()):
            raise Unreadable("a zip file with an entry larger than itself")
        if any(info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for info in entries.values()):
            raise Unreadable("a zip file compressed in an unusual way")
        if f"{top}byteorder" in entries and archive.read(f"{top}byteorder") != b"little":
            raise Unreadable("written on a big-endian machine")
        unpickler = _Unpickler(io.BytesIO(archive.read(f"{top}data.pkl")), families)
        graph = unpickler.load()
        for storage in unpickler.storages.values():
            with archive.open(f"{top}data/{storage.key}") as source:
                storage.fill(source, entries[f"{top}data/{storage.key}"].file_size)
    return _rebuilder(families).rebuild(graph)


def _load_stream(file: IO[bytes], families: tuple[str, ...]) -> Any:
    """What follows the magic number: version, machine, object, keys, then for each key a count of elements and their bytes."""
    version = _Unpickler(file, ()).load()
    machine = _Unpickler(file, ()).load()
    if version != _PROTOCOL:
        raise Unreadable(f"protocol version {version}")
    if not machine["little_endian"]:
        raise Unreadable("written on a big-endian machine")
    unpickler = _Unpickler(file, families)
    graph = unpickler.load()
    keys = _Unpickler(file, ()).load()
    for key in keys:
        storage = unpickler.storages[key]
        (count,) = struct.unpack("<q", file.read(8))
        storage.fill(file, count * storage.dtype.itemsize)
    return _rebuilder(families).rebuild(graph)
