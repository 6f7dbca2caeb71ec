"""Files of tuned upstreams: the trained weights of an upstream with what its checkpoint says beside them.

An upstream is built from a checkpoint of its family, whose settings only that family understands. An export therefore keeps the *outline*
of the checkpoint that a training began with, that is, all it holds with a note of shape and type in place of each tensor, and the state
dict after the training. To load it, the family is shown the outline with zeros for tensors; then the state dict takes their place.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from utility.errors import CheckpointError
from utility.experiment.nesting import Parts
from utility.experiment.rebuild import record_to_plain

MARK = "tuned_upstream"
"""The one key of such a file."""

_TENSOR = "__tensor__"
_PLAIN = (str, int, float, bool, type(None))
_loading: ContextVar[Loading | None] = ContextVar("loading", default=None)


@dataclass
class Loading:
    """The export that an upstream is being built from.

    Args:
        family: the folder of the upstream.
        path: the file, once it has been read.
        state: its state dict.
    """

    family: str
    path: Path | None = None
    state: dict[str, Tensor] = field(default_factory=dict)

    def finish(self, upstream: nn.Module) -> None:
        """Gives an upstream the tuned weights, if an export was read.

        Raises:
            CheckpointError: they do not fit it.
        """
        if self.path is None:
            return
        try:
            upstream.load_state_dict(self.state)
        except RuntimeError as error:
            raise CheckpointError(f"the weights of {self.path} do not fit: {' '.join(str(error).split())[:300]}") from error


@contextmanager
def loading(family: str) -> Iterator[Loading]:
    """While an upstream of this family is built, exports may be read."""
    found = Loading(family)
    token = _loading.set(found)
    try:
        yield found
    finally:
        _loading.reset(token)


def content_of(
    family: str, entry: str, original: Mapping[Any, Any], state: Mapping[str, Tensor], trained: Mapping[str, Any]
) -> dict[str, Any]:
    """What a file of a tuned upstream holds.

    Args:
        family: the folder of the upstream.
        entry: the name under which it was trained.
        original: the content of the checkpoint that the training began with, or of an export.
        state: of the upstream after the training.
        trained: what is to be known of the training, plain data.
    """
    outline = original[MARK]["outline"] if MARK in original else _outlined(record_to_plain(dict(original)))
    return {MARK: {"family": family, "entry": entry, "outline": outline, "state": dict(state), "trained": dict(trained)}}


def outline(content: Mapping[str, Any], path: Path) -> dict[Any, Any]:
    """The checkpoint that an export stands for, with zeros for tensors; notes the weights for :meth:`Loading.finish`.

    Raises:
        CheckpointError: it is of another family, damaged, or read where only checkpoints can be.
    """
    export, taker = content[MARK], _loading.get()
    wanted = {"family": str, "entry": str, "outline": dict, "state": dict}
    if not isinstance(export, Mapping) or any(not isinstance(export.get(key), kind) for key, kind in wanted.items()):
        raise CheckpointError(f"{path} is no complete export of an upstream")
    if taker is None:
        raise CheckpointError(f"{path} is an export of an upstream, which only the registry of upstreams can build")
    if export["family"] != taker.family:
        raise CheckpointError(
            f"{path} was exported from the upstream {export['entry']!r} ({export['family']}), not from one of {taker.family}"
        )
    if not all(isinstance(name, str) for name in export["state"]):
        raise CheckpointError(f"{path} is no complete export of an upstream: its weights have no names")
    taker.path, taker.state = path, export["state"]
    most = max((value.numel() for value in export["state"].values() if isinstance(value, Tensor)), default=0)
    return _filled(export["outline"], path, most, Parts(f"the settings in {path}"))


def _outlined(value: Any) -> Any:
    """Plain data with a note in place of each tensor; what is neither is left out."""
    if isinstance(value, Tensor):
        return {_TENSOR: [list(value.shape), str(value.dtype).removeprefix("torch.")]}
    if isinstance(value, Mapping):
        return {key: _outlined(item) for key, item in value.items() if isinstance(key, _PLAIN)}
    if isinstance(value, list | tuple):
        return type(value)(_outlined(item) for item in value) if type(value) in (list, tuple) else [_outlined(item) for item in value]
    return value if isinstance(value, _PLAIN) else None


def _filled(value: Any, path: Path, most: int, parts: Parts) -> Any:
    """The outline with zeros for its notes.

    A tensor of more than ``most`` elements, those of the largest weight of the upstream, is none that it is made of: it comes back empty,
    so that no net is made larger than the file.
    """
    parts.one_more()
    if isinstance(value, Mapping):
        return (
            _zeros(value[_TENSOR], path, most)
            if _TENSOR in value
            else {key: _filled(item, path, most, parts) for key, item in value.items()}
        )
    return type(value)(_filled(item, path, most, parts) for item in value) if isinstance(value, list | tuple) else value


def _zeros(note: Any, path: Path, most: int) -> Tensor:
    """Zeros of the noted shape that take up no memory."""
    try:
        shape, name = note
        dtype = getattr(torch, name)
        if not isinstance(dtype, torch.dtype) or any(type(n) is not int or n < 0 for n in shape):
            raise TypeError(note)
        return torch.zeros((), dtype=dtype).expand(shape) if math.prod(shape) <= most else torch.zeros(0, dtype=dtype)
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise CheckpointError(f"{path} is no complete export of an upstream: {note!r} is no shape and type") from error
