"""Nested records as plain data, and back.

A checkpoint must load with ``torch.load(weights_only=True)``, which accepts numbers, text, bytes, None, lists, tuples, dicts and tensors.
Tasks remember more than that (numpy numbers, paths, sets, vocabularies), so what a checkpoint holds passes through :func:`to_plain` when
it is written and through :func:`from_plain` when it is read.

| given | stored as | comes back as |
|---|---|---|
| None, bool, int, float, str, torch.dtype, torch.Size | itself | itself |
| bytes, complex | tagged dict | bytes, complex |
| list, tuple, dict, OrderedDict (with a state dict's ``_metadata``) | itself, member by member | itself |
| tensor, parameter | tensor on the CPU, without gradient, without the unused rest of a larger storage | tensor |
| numpy number | Python number of the same value | Python number |
| numpy array | tagged dict around a tensor (text and times: around lists) | array of the same dtype |
| Path, set, frozenset | tagged dict | Path, set, frozenset |
| namespace, other mapping | dict | dict |
"""

from __future__ import annotations

import argparse
import types
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch

TAG = "__plain__"

_AS_THEY_ARE = (type(None), bool, int, float, str)


def to_plain(value: Any, place: str = "state") -> Any:
    """``value`` as plain data (see the table above).

    Args:
        value: anything nested.
        place: what ``value`` is called in an error, e.g. ``"state"``.

    Raises:
        TypeError: naming the place and the type of a member that has no plain form; ValueError for a structure that contains itself.
    """
    return _to_plain(value, place, ())


def _to_plain(value: Any, place: str, above: tuple[int, ...]) -> Any:
    if type(value) in _AS_THEY_ARE:
        return value
    if id(value) in above:
        raise ValueError(f"{place} contains itself")
    convert = _converter(value)
    if convert is None:
        raise TypeError(f"{place} is a {type(value).__module__}.{type(value).__qualname__}, which has no plain form")
    inner = (*above, id(value))
    return convert(value, lambda member, name: _to_plain(member, f"{place}{name}", inner))


_Member = Callable[[Any, str], Any]


def _converter(value: Any) -> Callable[[Any, _Member], Any] | None:
    import numpy as np
    import torch

    table: list[tuple[Any, Callable[[Any, _Member], Any]]] = [
        (torch.Tensor, lambda v, _: _plain_tensor(v)),
        ((torch.dtype, torch.Size), lambda v, _: v),
        (Mapping, _plain_mapping),
        (np.generic, lambda v, member: member(_number(v), "")),
        (np.ndarray, _plain_array),
        (list, lambda v, member: [member(x, f"[{i}]") for i, x in enumerate(v)]),
        (tuple, lambda v, member: tuple(member(x, f"[{i}]") for i, x in enumerate(v))),
        (complex, lambda v, _: {TAG: "complex", "value": [v.real, v.imag]}),
        (bytes, lambda v, _: {TAG: "bytes", "value": v.decode("latin1")}),  # weights_only refuses the empty bytes
        (PurePath, lambda v, _: {TAG: "path", "value": str(v)}),
        ((set, frozenset), _plain_set),
        ((argparse.Namespace, types.SimpleNamespace), lambda v, member: _plain_mapping(vars(v), member)),
        (_AS_THEY_ARE[1:], lambda v, _: next(base(v) for base in (int, float, str) if isinstance(v, base))),
    ]
    return next((convert for kinds, convert in table if isinstance(value, kinds)), None)


def _plain_mapping(value: Mapping[Any, Any], member: _Member) -> dict[Any, Any]:
    items = {_key(k, member): member(v, f"[{k!r}]") for k, v in value.items()}
    if not isinstance(value, OrderedDict):
        return {TAG: "dict", "items": list(items.items())} if TAG in items else items
    ordered = OrderedDict(items)
    metadata = getattr(value, "_metadata", None)
    if metadata is not None:  # versions of a module's parameters, which load_state_dict looks at
        ordered._metadata = member(metadata, "._metadata")  # type: ignore[attr-defined]
    return ordered


def _key(key: Any, member: _Member) -> Any:
    plain = member(key, f" key {key!r}")
    if not isinstance(plain, (*_AS_THEY_ARE, tuple)):
        raise TypeError(f"key {key!r} of type {type(key).__name__} has no plain form")
    return plain


def _plain_set(value: set[Any] | frozenset[Any], member: _Member) -> dict[str, Any]:
    members = sorted(value, key=repr)  # the same set is always written with the same bytes
    return {TAG: type(value).__name__ if type(value) in (set, frozenset) else "set", "value": [member(x, "{}") for x in members]}


def _number(value: np.generic) -> Any:
    plain = value.item()
    if type(plain) not in (*_AS_THEY_ARE, complex, bytes):  # times, structured numbers and long doubles have no Python number
        raise TypeError(f"a numpy {value.dtype} has no plain form")
    return plain


def _plain_tensor(value: torch.Tensor) -> torch.Tensor:
    import torch

    if value.is_sparse or value.is_quantized:
        return value.detach().cpu()
    plain = value.detach().cpu()
    if type(plain) is not torch.Tensor:
        plain = plain.as_subclass(torch.Tensor)
    if plain.untyped_storage().nbytes() > plain.numel() * plain.element_size():
        plain = plain.clone()  # torch.save would write the whole storage that this is a view of
    return plain


def _plain_array(value: np.ndarray, member: _Member) -> dict[str, Any]:
    import numpy as np
    import torch

    described = {TAG: "ndarray", "dtype": value.dtype.str, "shape": list(value.shape)}
    if value.dtype.kind == "O":
        return {**described, "value": [member(x, f"[{i}]") for i, x in enumerate(value.ravel().tolist())]}
    if value.dtype.kind not in "biufcSUmM":
        raise TypeError(f"a numpy array of {value.dtype} has no plain form")
    raw = bytearray(np.ascontiguousarray(value).tobytes())
    return {**described, "value": torch.frombuffer(raw, dtype=torch.uint8) if raw else torch.empty(0, dtype=torch.uint8)}


def from_plain(value: Any) -> Any:
    """What :func:`to_plain` was given, up to the losses that its table names."""
    if isinstance(value, OrderedDict):
        ordered = OrderedDict((from_plain(k), from_plain(v)) for k, v in value.items())
        if hasattr(value, "_metadata"):
            ordered._metadata = from_plain(value._metadata)  # type: ignore[attr-defined]
        return ordered
    if type(value) is dict:
        return _from_tagged(value) if TAG in value else {from_plain(k): from_plain(v) for k, v in value.items()}
    if type(value) is list:
        return [from_plain(v) for v in value]
    if type(value) is tuple:
        return tuple(from_plain(v) for v in value)
    return value


def _from_tagged(value: dict[str, Any]) -> Any:
    restore: dict[str, Callable[[], Any]] = {
        "complex": lambda: complex(*value["value"]),
        "bytes": lambda: value["value"].encode("latin1"),
        "path": lambda: Path(value["value"]),
        "set": lambda: set(from_plain(value["value"])),
        "frozenset": lambda: frozenset(from_plain(value["value"])),
        "dict": lambda: {from_plain(k): from_plain(v) for k, v in value["items"]},
        "ndarray": lambda: _array(value),
    }
    return restore[value[TAG]]()


def _array(value: dict[str, Any]) -> np.ndarray:
    import numpy as np

    dtype, shape = np.dtype(value["dtype"]), tuple(value["shape"])
    if dtype.kind == "O":
        array = np.empty(len(value["value"]), dtype=object)
        for i, member in enumerate(value["value"]):
            array[i] = from_plain(member)
        return array.reshape(shape)
    return np.frombuffer(value["value"].numpy().tobytes(), dtype=dtype).reshape(shape).copy()
