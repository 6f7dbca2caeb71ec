"""What an upstream gives for one utterance: as plain data, as a file, and as a member of a batch.

A file has eight magic bytes, the length of its header and the header's CRC-32 (little-endian, 4 bytes each), the header (JSON), and from
the next multiple of 64 on the tensors, each at a multiple of 64. The header says how long the rest is, so that a truncated file is known as
such. The tensors have no checksum: most of them are not read, and to sum them all would take longer than to read the one that is.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

MAGIC = b"STATES2\n"
_HEAD = 16
STORED_TYPES = {"fp32": torch.float32, "fp16": torch.float16}
_ALIGNMENT = 64
_PLAIN = (str, int, float, bool, type(None))
_KINDS: dict[str, type] = {"list": list, "tuple": tuple}


@dataclass(frozen=True)
class Entry:
    """The dict that an upstream gave for a batch of one utterance.

    Args:
        tree: how the tensors are nested: ``{"at": index}`` for a tensor, ``{"list": [...]}``, ``{"tuple": [...]}``, ``{"dict": {...}}``,
            ``{"value": ...}``. What cannot be described so, or has no batch dimension of 1 in front, is left out.
        tensors: on the CPU, in the type in which they are stored; one that occurs twice in the tree is here once.
        types: names of the types that they had.
    """

    tree: dict[str, Any]
    tensors: list[Tensor]
    types: list[str]

    @classmethod
    def of(cls, result: Mapping[str, Any], dtype: torch.dtype) -> Entry:
        """What an upstream returned, its floating-point tensors in ``dtype``, or in float32 where float16 cannot hold a value of them."""
        found: dict[tuple, int] = {}
        tensors: list[Tensor] = []

        def place(tensor: Tensor) -> int:
            key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
            if key not in found:
                found[key] = len(tensors)
                tensors.append(tensor)
            return found[key]

        tree = _described(dict(result), place)
        types = [_name(tensor.dtype) for tensor in tensors]
        return cls(tree or {"dict": {}}, [_stored(tensor.detach().cpu(), dtype) for tensor in tensors], types)

    @property
    def keys(self) -> list[str]:
        """The keys of the dict."""
        return list(self.tree["dict"])

    def blocks(self) -> Iterator[bytes | memoryview]:
        """The content of the file, piece by piece."""
        offsets, end = [], 0
        for tensor in self.tensors:
            offsets.append(end)
            end += _aligned(tensor.nbytes)
        listed = [
            {"type": _name(tensor.dtype), "as": kind, "shape": list(tensor.shape), "offset": offset}
            for tensor, kind, offset in zip(self.tensors, self.types, offsets, strict=True)
        ]
        header = json.dumps({"tree": self.tree, "tensors": listed, "bytes": end}).encode()
        head = MAGIC + len(header).to_bytes(4, "little") + zlib.crc32(header).to_bytes(4, "little") + header
        yield head.ljust(_aligned(len(head)), b"\0")
        for tensor in self.tensors:
            yield memoryview(tensor.contiguous().numpy().reshape(-1).view(np.uint8))
            yield bytes(_aligned(tensor.nbytes) - tensor.nbytes)

    @classmethod
    def read(cls, path: Path) -> Entry:
        """The entry of a file, its tensors mapped and not yet read.

        Raises:
            OSError: it is not there or cannot be read.
            ValueError: it is damaged or truncated.
        """
        mapped = np.memmap(path, np.uint8, mode="c")  # copy on write: torch asks for memory that it could write to
        start = _HEAD + int.from_bytes(mapped[8:12].tobytes(), "little")
        if mapped[:8].tobytes() != MAGIC or start > len(mapped):
            raise ValueError(f"{path} is no entry of a feature store")
        text = mapped[_HEAD:start].tobytes()
        if zlib.crc32(text) != int.from_bytes(mapped[12:_HEAD].tobytes(), "little"):
            raise ValueError(f"{path} is damaged")
        try:
            header = json.loads(text)
            data = mapped[_aligned(start) :]
            if len(data) != header["bytes"]:
                raise ValueError(f"{path} is truncated")
            tensors = [_mapped(data, one) for one in header["tensors"]]
            types = [one["as"] for one in header["tensors"]]
            if not all(isinstance(getattr(torch, name), torch.dtype) for name in types):
                raise TypeError(types)
            _check_tree(header["tree"], len(tensors))
            return cls({"dict": header["tree"]["dict"]}, tensors, types)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is damaged") from error


def batch_of(entries: Sequence[Entry], keys: Sequence[str], device: str, only: tuple[str, int | None]) -> dict[str, Any]:
    """What the upstream gives for a batch, each utterance computed alone and zeros behind its own frames.

    Args:
        entries: one an utterance.
        keys: those wanted; the ones that there are not are left out.
        device: where the tensors go, in the types that they had.
        only: a key and the index of the one layer that is wanted of it (None: all); the others are None and are not read.

    Returns:
        (B, longest T, ...) tensors, nested as the upstream nests them.
    """
    there = [key for key in keys if key in entries[0].tree["dict"]]
    nodes = {key: [entry.tree["dict"][key] for entry in entries] for key in there}
    return {key: _joined(nodes[key], entries, device, only[1] if key == only[0] else None) for key in there}


def _joined(nodes: list[dict[str, Any]], entries: Sequence[Entry], device: str, only: int | None = None) -> Any:
    ((kind, first),) = nodes[0].items()
    if kind == "value":
        return first
    if kind == "at":
        where = [(entry, node["at"]) for entry, node in zip(entries, nodes, strict=True)]
        return _padded([entry.tensors[at] for entry, at in where], getattr(torch, entries[0].types[first]), device)
    names = list(first) if kind == "dict" else range(len(first))
    index = None if only is None else range(len(names))[only] if -len(names) <= only < len(names) else None
    members = [
        _joined([node[kind][name] for node in nodes], entries, device) if index in (None, number) else None
        for number, name in enumerate(names)
    ]
    return dict(zip(names, members, strict=True)) if kind == "dict" else _KINDS[kind](members)


def _padded(parts: list[Tensor], dtype: torch.dtype, device: str) -> Tensor:
    """Tensors (1, T, ...) as one (B, longest T, ...), or (1,) as (B,); halved numbers travel to a device before they grow."""
    travels = parts[0].dtype if device != "cpu" and len({part.dtype for part in parts}) == 1 else dtype
    if parts[0].dim() == 1:
        return torch.cat([part.to(travels) for part in parts]).to(device, dtype)
    joined = torch.empty(len(parts), max(part.size(1) for part in parts), *parts[0].shape[2:], dtype=travels)
    for row, part in zip(joined, parts, strict=True):
        row[: part.size(1)] = part[0]
        row[part.size(1) :] = 0
    return joined.to(device, dtype)


def _described(value: Any, place: Any) -> dict[str, Any] | None:
    """The tree of a value, or None if it has none."""
    if isinstance(value, Tensor):
        return {"at": place(value)} if value.dim() and value.size(0) == 1 else None
    if isinstance(value, _PLAIN):
        return {"value": value}
    if isinstance(value, Mapping):
        members = {key: _described(member, place) for key, member in value.items() if isinstance(key, str)}
        return {"dict": {key: member for key, member in members.items() if member is not None}}
    if type(value) in (list, tuple):
        items = [_described(item, place) for item in value]
        return None if None in items else {type(value).__name__: items}
    return None


def _check_tree(node: Any, tensors: int) -> None:
    """Raises ValueError, TypeError or AttributeError if this is no tree over so many tensors."""
    ((kind, content),) = node.items()
    if kind == "at" and not (type(content) is int and 0 <= content < tensors):
        raise ValueError(f"there is no tensor {content}")
    if kind not in ("at", "value", "dict", *_KINDS):
        raise ValueError(f"unknown kind {kind!r}")
    if kind == "dict" or kind in _KINDS:
        for member in content.values() if kind == "dict" else content:
            _check_tree(member, tensors)


def _stored(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    if not tensor.is_floating_point() or tensor.dtype == torch.float64:
        return tensor
    if dtype == torch.float16 and tensor.numel() and not tensor.abs().max() <= torch.finfo(dtype).max:
        return tensor.float()
    return tensor.to(dtype)


def _mapped(data: np.ndarray, one: Mapping[str, Any]) -> Tensor:
    kind = np.dtype(one["type"])
    size = int(np.prod(one["shape"], dtype=np.int64)) * kind.itemsize
    if one["shape"][:1] != [1] or not 0 <= one["offset"] <= one["offset"] + size <= len(data):
        raise ValueError("a tensor is no utterance's, or lies outside of the file")
    return torch.from_numpy(np.asarray(data[one["offset"] : one["offset"] + size]).view(kind).reshape(one["shape"]))


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
