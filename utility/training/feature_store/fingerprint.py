"""What decides the states of an utterance, as digests: its samples, and everything about the upstream."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_OF_EVERY_MODULE = frozenset(vars(nn.Module())) | {"name"}
_LIBRARIES = ("torch", "transformers")
_OPAQUE = ("torch.", "_thread", "threading", "weakref")  # handles and the like, with numbers of this process in them
_DEPTH = 12


def samples_digest(wav: Tensor) -> str:
    """The digest of a waveform's samples (1-D float32)."""
    return hashlib.blake2b(memoryview(wav.detach().cpu().contiguous().numpy()).cast("B"), digest_size=20).hexdigest()


def fingerprint(upstream: nn.Module, sources: Iterable[Path], settings: Mapping[str, Any]) -> str:
    """The digest of an upstream and of how it is run.

    It covers all parameters, buffers and other attributes of every module (normalisation, strides and whatever else the constructor was
    told), the text of the code, the versions of the libraries below it, and the settings. A part of this that changes without an effect on
    the states costs a computation; nothing that has an effect is left out.

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
        elif isinstance(value, (bytes, bytearray)):
            self.digest.update(value)
        elif id(value) in self.seen or depth > _DEPTH:
            self._text(f"again {self.seen.get(id(value), (None,))[0]}\0")
        else:
            self.seen[id(value)] = len(self.seen), value  # held, so that no other gets its id
            self._members(value, depth + 1)

    def _members(self, value: Any, depth: int) -> None:
        if isinstance(value, (Tensor, np.ndarray)):
            self._numbers(value)
        elif isinstance(value, nn.Module):
            self._mapping({k: v for k, v in vars(value).items() if k not in _OF_EVERY_MODULE}, depth)
            for part in (value._parameters, value._buffers, value._modules):
                self._mapping(part, 0 if part is value._modules else depth)
        elif isinstance(value, Mapping):
            self._mapping(value, depth)
        elif isinstance(value, (list, tuple)):
            for index, item in enumerate(value):
                self(str(index), item, depth)
        elif isinstance(value, (set, frozenset)):
            self._text("\0".join(sorted(map(repr, value))))
        elif isinstance(value, (type, FunctionType)):
            self._text(f"{value.__module__}.{value.__qualname__}\0")
        elif isinstance(value, MethodType):
            self._text(f"{value.__qualname__}\0")
        elif isinstance(value, partial):
            self("partial", [value.func, value.args, value.keywords], depth)
        elif hasattr(value, "__dict__") and not type(value).__module__.startswith(_OPAQUE):
            self._mapping(vars(value), depth)
        elif hasattr(value, "__slots__"):
            self._mapping({name: getattr(value, name, None) for name in value.__slots__}, depth)

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
