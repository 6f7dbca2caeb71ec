"""From the inert graph of a pickle to values: the second step of :mod:`utility.experiment.unpickle`.

Nothing here calls a name that the file chose: each accepted name has its own function below, which looks at the notes of a stub and makes
the value from checked parts.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from utility.errors import CheckpointError
from utility.experiment.nesting import LEAF, Nest, Parts, Unreadable, nest_of

DTYPES: dict[str, torch.dtype] = {
    "UntypedStorage": torch.uint8,
    "ByteStorage": torch.uint8,
    "CharStorage": torch.int8,
    "ShortStorage": torch.int16,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
}
"""Element type of each torch storage class."""

MOST_OF_RANGE = 1 << 20

TORCH_VALUES = {name: value for name, value in vars(torch).items() if isinstance(value, (torch.dtype, torch.layout, torch.memory_format))}
"""Names in torch that are values, such as ``torch.float32``."""


class Stub:
    """Stands for whatever a pickle names, and notes what the pickle does with it. Subclasses carry the name in ``origin``."""

    __slots__ = ("arguments", "entries", "items", "state")

    origin: tuple[str, str]

    def __new__(cls, *arguments: Any, **keywords: Any) -> Stub:
        stub = super().__new__(cls)
        stub.arguments = (*arguments, keywords) if keywords else arguments
        stub.state = None
        stub.entries = []
        stub.items = []
        return stub

    def __init__(self, *arguments: Any, **keywords: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.entries.append((key, value))

    def append(self, item: Any) -> None:
        self.items.append(item)

    def extend(self, items: Any) -> None:
        self.items.extend(items)

    def add(self, item: Any) -> None:
        self.items.append(item)


class Storage:
    """The elements behind one or more tensors; ``base`` and ``offset`` make it a stretch of another."""

    __slots__ = ("base", "count", "dtype", "elements", "key", "offset")

    def __init__(self, key: str, dtype: torch.dtype, count: int, base: Storage | None = None, offset: int = 0):
        self.key, self.dtype, self.count, self.base, self.offset = key, dtype, count, base, offset
        self.elements: torch.Tensor | None = None

    def __setstate__(self, state: Any) -> None:
        raise Unreadable("a pickle that alters a storage")

    def fill(self, source: IO[bytes], size: int) -> None:
        """Reads ``size`` bytes, which must be what the count of elements says."""
        if size != self.count * self.dtype.itemsize:
            raise Unreadable(f"storage {self.key} of {size} bytes should have {self.count} elements of {self.dtype.itemsize}")
        self.elements = torch.empty(0, dtype=self.dtype)
        if size:
            # Read in pieces: a count that lies must not reserve memory that the file cannot fill.
            data = bytearray()
            while len(data) < size and (piece := source.read(min(size - len(data), 1 << 24))):
                data += piece
            if len(data) < size:
                raise EOFError
            self.elements = torch.frombuffer(data, dtype=self.dtype)

    def flat(self) -> torch.Tensor:
        """All elements, 1-D."""
        if self.base is not None:
            return self.base.flat()[self.offset : self.offset + self.count]
        if self.elements is None:
            raise Unreadable(f"storage {self.key} is missing")
        return self.elements


@dataclass(eq=False)
class Record:
    """An object of a class that is not here: what was written of it, and nothing else.

    Attributes:
        module, name: the class.
        args: what it would have been made from.
        state: what it would have been given, mostly its attributes by name.
        entries: members, if it was a kind of dict.
        items: members, if it was a kind of list or set.
    """

    module: str
    name: str
    args: tuple[Any, ...] = ()
    state: Any = None
    entries: dict[Any, Any] = field(default_factory=dict)
    items: list[Any] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<record of {self.module}.{self.name}>"

    @property
    def attributes(self) -> dict[str, Any]:
        """The state as a dict; empty if it is something else."""
        if isinstance(self.state, tuple) and len(self.state) == 2:
            return {k: v for part in self.state if isinstance(part, dict) for k, v in part.items()}
        return self.state if isinstance(self.state, dict) else {}


@dataclass
class _Call:
    """A stub with its parts rebuilt."""

    args: tuple[Any, ...]
    state: Any
    items: list[Any]
    load_bytes: Callable[[bytes], Any]


def _tensor(call: _Call) -> torch.Tensor:
    """torch._utils._rebuild_tensor, _v2, _v3: (storage, offset, sizes, strides, ..., [dtype of _v3])."""
    flat, offset, sizes, strides, *rest = call.args
    if len(rest) > 2 and isinstance(rest[2], torch.dtype):
        flat = flat.view(rest[2])
    numbers = (offset, *sizes, *strides)
    if not isinstance(flat, torch.Tensor) or any(type(n) is not int or n < 0 for n in numbers) or len(sizes) != len(strides):
        raise Unreadable("a tensor of impossible shape")
    last = offset + sum((n - 1) * stride for n, stride in zip(sizes, strides, strict=True))
    if 0 not in sizes and last >= flat.numel():
        raise Unreadable("a tensor that reaches beyond its storage")
    return flat.as_strided(sizes, strides, offset if 0 not in sizes else 0)


def _nested(call: _Call) -> Any:
    """torch.storage._load_from_bytes: a whole torch file inside a plain pickle."""
    if not isinstance(call.args[0], bytes):
        raise Unreadable("a storage without bytes")
    return call.load_bytes(call.args[0])


def _latin1(text: Any) -> bytes:
    return text.encode("latin1") if isinstance(text, str) else bytes(text)


def _encode(call: _Call) -> bytes:
    """_codecs.encode: how protocol 2 writes bytes."""
    text, encoding = call.args
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise Unreadable("bytes in an unknown encoding")
    return text.encode("latin1")


def _bytes(call: _Call) -> bytes:
    if call.args and isinstance(call.args[0], int):
        raise Unreadable("bytes from a number")
    return _latin1(call.args[0]) if call.args else b""


def _dtype(call: _Call) -> np.dtype:
    code = call.args[0].decode() if isinstance(call.args[0], bytes) else call.args[0]
    if not isinstance(code, str) or not re.fullmatch(r"[<>|=]?([biufcSUO]\d+|[?O])", code):
        raise Unreadable(f"a numpy array of unknown type {code!r}")
    dtype = np.dtype(code)
    if call.state is not None:
        if call.state[3] is not None or call.state[2] is not None:
            raise Unreadable("a structured numpy array")
        dtype = dtype.newbyteorder(call.state[1]) if call.state[1] in ("<", ">") else dtype
    return dtype


def _filled(raw: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    if not isinstance(dtype, np.dtype) or any(type(n) is not int or n < 0 for n in shape):
        raise Unreadable("a numpy array of impossible shape")
    if dtype.kind == "O":
        array = np.empty(len(raw), dtype=object)
        for i, member in enumerate(raw):
            array[i] = member
        return array.reshape(shape)
    return np.frombuffer(_latin1(raw), dtype=dtype).reshape(shape, order=order).copy()


def _array(call: _Call) -> np.ndarray:
    """numpy._core.multiarray._reconstruct with the state (version, shape, dtype, is Fortran, data)."""
    if call.state is None:
        raise Unreadable("a numpy array without data")
    shape, dtype, fortran, raw = call.state[-4:]
    return _filled(raw, dtype, shape, "F" if fortran else "C")


def _frombuffer(call: _Call) -> np.ndarray:
    raw, dtype, shape, order = call.args
    return _filled(raw, dtype, shape, "F" if order == "F" else "C")


def _scalar(call: _Call) -> Any:
    dtype, raw = call.args
    if not isinstance(dtype, np.dtype) or dtype.kind == "O":
        raise Unreadable("a numpy number of unknown type")
    return np.frombuffer(_latin1(raw), dtype=dtype, count=1)[0]


def _members(call: _Call) -> list[Any]:
    return [*(call.args[0] if call.args else ()), *call.items]


def _range(call: _Call) -> range:
    """Whatever is given a range may list it: one of 2^40 numbers is ten bytes in a file."""
    made = range(*map(int, call.args))
    if made[MOST_OF_RANGE:]:
        raise Unreadable(f"a range of more than {MOST_OF_RANGE} numbers")
    return made


_Build = Callable[[_Call], Any]

_TORCH: dict[str, _Build] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor,
    "torch._utils._rebuild_parameter": lambda call: call.args[0],
    "torch._utils._rebuild_parameter_with_state": lambda call: call.args[0],
    "torch.storage._load_from_bytes": _nested,
    "torch.Size": lambda call: torch.Size(_members(call)),
    "torch.device": lambda call: torch.device(*call.args),
    "torch.serialization._get_layout": lambda call: TORCH_VALUES[call.args[0].removeprefix("torch.")],
}
_NUMPY: dict[str, _Build] = {
    "numpy.dtype": _dtype,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy._core.multiarray._reconstruct": _array,
    "numpy._core.numeric._frombuffer": _frombuffer,
    "numpy.ndarray": lambda call: _refuse("a bare numpy.ndarray"),
}
_PYTHON: dict[str, _Build] = {
    "_codecs.encode": _encode,
    "builtins.bytes": _bytes,
    "builtins.bytearray": lambda call: bytearray(_bytes(call)),
    "builtins.set": lambda call: set(_members(call)),
    "builtins.frozenset": lambda call: frozenset(_members(call)),
    "builtins.list": _members,
    "builtins.tuple": lambda call: tuple(_members(call)),
    "builtins.complex": lambda call: complex(*map(float, call.args)),
    "builtins.xrange": _range,
    "builtins.range": _range,
    "builtins.slice": lambda call: slice(*call.args),
    "pathlib.Path": lambda call: Path(*map(str, call.args)),
    "pathlib.PosixPath": lambda call: Path(*map(str, call.args)),
    "pathlib.PurePosixPath": lambda call: Path(*map(str, call.args)),
    "pathlib.WindowsPath": lambda call: Path("/".join(map(str, call.args)).replace("\\", "/")),
    **{
        f"builtins.{name}": (lambda call: call.args[0] if call.args else None)
        for name in ("int", "long", "float", "bool", "str", "unicode", "object", "NoneType")
    },
}
# Filled after they are made, since they may contain themselves: name -> (type, where the content is).
_DICTS: dict[str, type[dict[Any, Any]]] = {
    "collections.OrderedDict": OrderedDict,
    "collections.defaultdict": dict,
    "collections.Counter": dict,
    "builtins.dict": dict,
    "argparse.Namespace": dict,
    "types.SimpleNamespace": dict,
}
_INDIRECT = {"copyreg._reconstructor", "copyreg.__newobj__", "copyreg.__newobj_ex__"}


def _refuse(what: str) -> Any:
    raise Unreadable(what)


_BUILDERS: dict[str, _Build] = {**_TORCH, **_NUMPY, **_PYTHON}
REBUILT = {tuple(name.rsplit(".", 1)) for name in (*_BUILDERS, *_DICTS, *_INDIRECT)}
"""``(module, name)`` of everything in the first tier."""


class Rebuilder:
    """Makes values of one graph; shared and self-containing parts stay so.

    Args:
        load_bytes: reads a torch file that lies inside a pickle.
    """

    def __init__(self, load_bytes: Callable[[bytes], Any]):
        self.load_bytes = load_bytes
        self.done: dict[int, Any] = {}
        self.kept: list[Any] = []  # what the numbers in done are of: they must not become those of other values
        self.nests: dict[int, Nest] = {}
        self.open: set[int] = set()

    def rebuild(self, graph: Any) -> Any:
        """The value of ``graph``, whose stubs stay as they are."""
        if id(graph) in self.done:
            return self.done[id(graph)]
        if isinstance(graph, Stub):
            return self._stub(graph)
        if isinstance(graph, Storage):
            return self._keep(graph, graph.flat())
        if isinstance(graph, type) and issubclass(graph, Stub):
            return self._keep(graph, self._name(*graph.origin))
        if type(graph) is dict:
            return self._fill(self._keep(graph, {}), graph.items())
        if type(graph) is list:
            made = self._keep(graph, [])
            made.extend(self.rebuild(member) for member in graph)
            return made
        if type(graph) in (tuple, set, frozenset):
            return self._keep(graph, type(graph)(map(self.rebuild, graph)))
        return graph

    def _keep(self, graph: Any, value: Any) -> Any:
        self.done[id(graph)] = value
        self.kept.append(graph)
        if isinstance(value, (tuple, frozenset)):
            self.nests[id(value)] = nest_of(self.nests.get(id(member), LEAF) for member in value)
        return value

    def _name(self, module: str, name: str) -> Any:
        return TORCH_VALUES[name] if module == "torch" and name in TORCH_VALUES else Record(module, name)

    def _fill(self, made: dict[Any, Any], pairs: Any) -> dict[Any, Any]:
        for key, value in pairs:
            made[self.rebuild(key)] = self.rebuild(value)
        return made

    def _stub(self, stub: Stub) -> Any:
        origin, arguments = _direct(stub)
        name = ".".join(origin)
        if name in _DICTS:
            return self._dict(stub, name, arguments)
        if name not in _BUILDERS:
            return self._record(stub, origin, arguments)
        if id(stub) in self.open:
            raise Unreadable(f"a {name} that contains itself")
        self.open.add(id(stub))
        call = _Call(self.rebuild(arguments), self.rebuild(stub.state), self.rebuild(stub.items), self.load_bytes)
        self.open.discard(id(stub))
        return self._keep(stub, _BUILDERS[name](call))

    def _dict(self, stub: Stub, name: str, arguments: tuple[Any, ...]) -> dict[Any, Any]:
        made = self._keep(stub, _DICTS[name]())
        content = arguments[1:] if name.endswith("defaultdict") else arguments
        for part in content:
            if part is not None:
                part = self.rebuild(part)
                made.update(part if isinstance(part, dict) else [tuple(pair) for pair in part])
        self._fill(made, stub.entries)
        state = self.rebuild(stub.state)
        if name.endswith("Namespace"):
            made.update(state or {})
        elif isinstance(made, OrderedDict) and isinstance(state, dict) and "_metadata" in state:
            made._metadata = state["_metadata"]  # type: ignore[attr-defined]
        return made

    def _record(self, stub: Stub, origin: tuple[str, str], arguments: tuple[Any, ...]) -> Record:
        record = self._keep(stub, Record(*origin))
        record.args = self.rebuild(arguments)
        record.state = self.rebuild(stub.state)
        self._fill(record.entries, stub.entries)
        record.items = self.rebuild(stub.items)
        return record


def _direct(stub: Stub) -> tuple[tuple[str, str], tuple[Any, ...]]:
    """Name and arguments of what is meant; the helpers of copyreg name the class in their first argument."""
    origin, arguments = stub.origin, stub.arguments
    if ".".join(origin) not in _INDIRECT:
        return origin, arguments
    cls, *rest = arguments
    if not (isinstance(cls, type) and issubclass(cls, Stub)):
        raise Unreadable("a copyreg helper without a class")
    if origin[1] == "_reconstructor":  # (class, base, what the base is made from)
        return cls.origin, () if rest[1] is None else (rest[1],)
    return cls.origin, tuple(rest) if origin[1] == "__newobj__" else tuple(rest[0])


def record_to_plain(value: Any) -> Any:
    """Records as nested plain data: omegaconf's containers become what they contain, any other record its attributes by name.

    A missing value stays ``"???"`` and an interpolation ``"${...}"``; an enumeration member becomes its value; a bare class its name.

    Raises:
        CheckpointError: the parts hold one another so often that there is no end of them.
    """
    return _plain(value, (), Parts("the settings in a checkpoint"))


def _plain(value: Any, above: tuple[int, ...], parts: Parts) -> Any:
    parts.one_more()
    if id(value) in above:
        return None  # omegaconf's nodes point back at their parents
    inner = (*above, id(value))
    if isinstance(value, dict):
        return {k: _plain(v, inner, parts) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(v, inner, parts) for v in value) if type(value) in (list, tuple) else value
    if not isinstance(value, Record):
        return value
    attributes = value.attributes
    if value.module.split(".")[0] == "omegaconf":
        content = next((name for name in ("_content", "_val", "content") if name in attributes), None)
        return _plain(attributes[content], inner, parts) if content else None
    if attributes or value.entries:
        return _plain({**attributes, **value.entries}, inner, parts)
    if value.items:
        return _plain(value.items, inner, parts)
    return _plain(value.args[0], inner, parts) if len(value.args) == 1 else f"{value.module}.{value.name}"


def module_state(module: Record) -> dict[str, torch.Tensor]:
    """The state dict of a pickled ``torch.nn`` module.

    Args:
        module: its record, with records of other modules in it.

    Returns:
        Parameters and persistent buffers by their dotted names.

    Raises:
        CheckpointError: the record is no module, or one that holds itself or others without end.
    """
    return _module_state(module, "", Parts("the modules in a checkpoint"))


def _module_state(module: Record, prefix: str, count: Parts) -> dict[str, torch.Tensor]:
    count.one_more()
    parts = module.attributes if isinstance(module, Record) else {}
    if "_parameters" not in parts or "_modules" not in parts:
        raise CheckpointError(f"{module!r} is not a pickled torch module")
    hidden = parts.get("_non_persistent_buffers_set") or ()
    own = {**parts["_parameters"], **{k: v for k, v in parts.get("_buffers", {}).items() if k not in hidden}}
    state = {prefix + name: value for name, value in own.items() if value is not None}
    for name, child in parts["_modules"].items():
        state.update(_module_state(child, f"{prefix}{name}.", count) if child is not None else {})
    return state
