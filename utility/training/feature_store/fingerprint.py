"""What decides the states of an utterance, as digests: its samples, and everything about the upstream."""

from __future__ import annotations

import copyreg
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_OF_EVERY_MODULE = frozenset(vars(nn.Module())) | {"name"}
_HOOKS = ("_forward_pre_hooks", "_forward_hooks")
_LIBRARIES = ("torch", "transformers")
_OPAQUE = ("torch._", "torch.utils.hooks", "_thread", "threading", "weakref")  # handles and the like, with numbers of this process in them
_DEPTH = 50


def samples_digest(wav: Tensor) -> str:
    """The digest of a waveform's samples (1-D float32)."""
    return hashlib.blake2b(memoryview(wav.detach().cpu().contiguous().numpy()).cast("B"), digest_size=20).hexdigest()


def fingerprint(upstream: nn.Module, sources: Iterable[Path], settings: Mapping[str, Any]) -> str:
    """The digest of an upstream and of how it is run.

    It covers all parameters, buffers, hooks and other attributes of every module (normalisation, strides and whatever else the constructor
    was told, also where a function or a bound method carries it along), the text of the code, the versions of the libraries below it, and
    the settings. A part of this that changes without an effect on the states costs a computation; nothing that has an effect is left out.

    Args:
        upstream: the module; its name and its mode do not count.
        sources: folders whose Python files are the upstream's code.
        settings: plain data, such as types and device.
    """
    digest = hashlib.blake2b(digest_size=20)
    write = _Writer(digest)
    write("settings", dict(settings))
    write("libraries", {name: version(name) for name in _LIBRARIES})  # whether loaded or not: what else a process does has no effect
    for folder in sources:
        for path in sorted(folder.rglob("*.py")):
            write(str(path.relative_to(folder)), path.read_bytes())
    write("upstream", upstream)
    return digest.hexdigest()


class _Writer:
    """Writes named values of any kind into a digest, each once."""

    def __init__(self, digest: Any):
        self.digest = digest
        self.seen: dict[int, tuple[int, Any]] = {}

    def __call__(self, name: str, value: Any, depth: int = 0) -> None:
        self._text(f"{name}\0{type(value).__module__}.{type(value).__qualname__}\0")
        if isinstance(value, (str, int, float, complex, type(None), torch.dtype, torch.device, Path)):
            self._text(f"{value!r}\0")
        elif isinstance(value, (bytes, bytearray, memoryview)):
            self.digest.update(bytes(value))
        elif id(value) in self.seen or depth > _DEPTH:
            self._text(f"again {self.seen.get(id(value), (None,))[0]}\0")
        else:
            self.seen[id(value)] = len(self.seen), value  # held, so that no other gets its id
            self._members(value, depth + 1)

    def _members(self, value: Any, depth: int) -> None:
        if isinstance(value, (Tensor, np.ndarray)):
            self._numbers(value)
        elif isinstance(value, torch.jit.ScriptModule):
            self("script", value.save_to_buffer())
        elif isinstance(value, nn.Module):
            self._module(value, depth)
        elif isinstance(value, Mapping):
            self._mapping(value, depth)
        elif isinstance(value, (list, tuple)):
            self._sequence(value, depth)
        elif isinstance(value, (set, frozenset)):
            self._text("\0".join(sorted(map(repr, value))))
        elif isinstance(value, (type, ModuleType)):
            self._text(f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', value.__name__)}\0")
        elif isinstance(value, (FunctionType, BuiltinFunctionType, MethodType, CodeType)):
            self._sequence(_of_code(value), depth)
        elif isinstance(value, partial):
            self._sequence([value.func, value.args, value.keywords], depth)
        elif not type(value).__module__.startswith(_OPAQUE):
            self._sequence(_of_object(value), depth)

    def _module(self, value: nn.Module, depth: int) -> None:
        self._mapping({k: v for k, v in vars(value).items() if k not in _OF_EVERY_MODULE}, depth)
        for part in (value._parameters, value._buffers, value._modules):
            self._mapping(part, 0 if part is value._modules else depth)
        for hooks in _HOOKS:
            self._sequence(list(getattr(value, hooks).values()), depth)

    def _sequence(self, items: Iterable[Any], depth: int) -> None:
        for index, item in enumerate(items):
            self(str(index), item, depth)

    def _mapping(self, members: Mapping[Any, Any], depth: int) -> None:
        self._text(f"{len(members)}\0")
        for key in sorted(members, key=repr):
            self(repr(key), members[key], depth)

    def _numbers(self, value: Tensor | np.ndarray) -> None:
        tensor = torch.as_tensor(value) if isinstance(value, Tensor) or value.dtype.kind in "biufc" else None
        if tensor is None:
            self._text(f"{value.tolist()!r}\0")
            return
        self._text(f"{tensor.dtype} {tuple(tensor.shape)}\0")
        if tensor.numel():
            self.digest.update(memoryview(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()))

    def _text(self, text: str) -> None:
        self.digest.update(text.encode())


def _of_code(value: FunctionType | BuiltinFunctionType | MethodType | CodeType) -> list[Any]:
    """What a function does and what it carries along: its code, the defaults of its arguments, what it closes over, what it is bound to."""
    if isinstance(value, CodeType):
        return [value.co_code, value.co_consts, value.co_names]
    if isinstance(value, FunctionType):
        closed = [_content(cell) for cell in value.__closure__ or ()]
        return [value.__module__, value.__qualname__, value.__code__, value.__defaults__, value.__kwdefaults__, closed]
    if isinstance(value, MethodType):
        return [value.__func__, value.__self__]
    return [value.__module__, value.__qualname__, value.__self__]


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # nothing was bound to it
        return None


def _of_object(value: Any) -> list[Any]:
    """The attributes of any other object; of one without any, what a pickle would hold of it (numpy's numbers, ranges, patterns ...)."""
    slots = [name for kind in type(value).__mro__ for name in _names(vars(kind).get("__slots__", ()))]
    attributes = {name: getattr(value, name, None) for name in slots if name not in ("__dict__", "__weakref__")}
    if slots or hasattr(value, "__dict__"):
        return [{**attributes, **getattr(value, "__dict__", {})}]
    try:
        reducer = copyreg.dispatch_table.get(type(value))
        made, *rest = reducer(value) if reducer else value.__reduce_ex__(4)
    except (TypeError, ValueError, AttributeError):  # says nothing of itself
        return []
    return [made, *(list(part) if isinstance(part, Iterator) else part for part in rest)]


def _names(slots: Any) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)
