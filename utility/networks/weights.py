"""Weights of published models: where a checkpoint lies, what it holds, and whether it fits.

A file that does not fit is one sentence that names what is missing, unknown or of another shape; nothing is loaded half.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from utility.errors import CheckpointError
from utility.experiment.download import fetch
from utility.experiment.unpickle import load_foreign
from utility.networks import exported

_SHOWN = 3


def local_path(ckpt: str | Path, refresh: bool = False) -> Path:
    """The local file or folder of a checkpoint given by path or URL; a URL is downloaded once into the cache.

    Raises:
        DataError: the URL cannot be had.
        CheckpointError: there is no such file or folder.
    """
    if str(ckpt).startswith(("http://", "https://")):
        return fetch(str(ckpt), refresh=refresh)
    path = Path(ckpt).expanduser()
    if not path.exists():
        raise CheckpointError(f"there is no checkpoint {path}")
    return path


def read_checkpoint(path: Path, families: Iterable[str] = ()) -> dict[Any, Any]:
    """What a checkpoint of any origin holds, read without executing anything of it; of an export, what :func:`exported.outline` gives.

    Args:
        path: a torch file, zipped or of the older format, or a pickle.
        families: see :func:`utility.experiment.unpickle.load_foreign`.

    Raises:
        CheckpointError: a folder, unreadable, damaged, refused, or no dictionary.
    """
    if path.is_dir():
        raise CheckpointError(_about_folder(path))
    content = load_foreign(path, families)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not a dictionary of weights and settings")
    return exported.outline(content, path) if exported.MARK in content else content


def _about_folder(path: Path) -> str:
    """What may be meant by a folder where a file belongs."""
    if (path / "config.json").is_file():
        return f"{path} is a folder of a Hugging Face model, which -u hf reads; -k takes a file here"
    newest = max(path.glob("*.ckpt"), key=lambda file: file.stat().st_mtime, default=None) or next(path.glob("*.pt"), None)
    return f"{path} is a folder, -k takes a file{f'; did you mean {newest}?' if newest else ''}"


def section(content: Mapping[Any, Any], path: Path, *names: str) -> Any:
    """The first of these entries of a checkpoint that is there.

    Raises:
        CheckpointError: none is; the sentence says what there is.
    """
    for name in names:
        if content.get(name) is not None:
            return content[name]
    wanted, there = " or ".join(map(repr, names)), ", ".join(map(str, list(content)[:8])) or "nothing"
    raise CheckpointError(f"{path} is no checkpoint of this upstream: it has no {wanted}; it holds {there}")


def renamed(weights: Mapping[str, Tensor], rules: Sequence[tuple[str, str | None]]) -> dict[str, Tensor]:
    """Weights under other names.

    Args:
        weights: by their published names.
        rules: (regular expression for the whole name, replacement or None to drop it); the first that matches counts, and names that
            none matches stay as they are.
    """
    compiled = [(re.compile(pattern), replacement) for pattern, replacement in rules]
    found: dict[str, Tensor] = {}
    for name, value in weights.items():
        for pattern, replacement in compiled:
            if match := pattern.fullmatch(name):
                if replacement is not None:
                    found[match.expand(replacement)] = value
                break
        else:
            found[name] = value
    return found


def fitted(
    make: Callable[[], nn.Module],
    weights: Mapping[str, Any],
    path: Path,
    optional: Callable[[str], bool] = lambda name: False,
    extra_ok: bool = False,
) -> nn.Module:
    """A module with these weights. It is first made without memory, so that senseless sizes in a file are a sentence and fill no memory.

    Args:
        make: makes the module, on the device of the context.
        weights, path, optional, extra_ok: as of :func:`load_weights`.

    Raises:
        CheckpointError: as :func:`load_weights`.
    """
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        check_weights(make(), weights, path, optional, extra_ok)
    module = make()
    load_weights(module, weights, path, optional, extra_ok)
    return module


def load_weights(
    module: nn.Module, weights: Mapping[str, Any], path: Path, optional: Callable[[str], bool] = lambda name: False, extra_ok: bool = False
) -> None:
    """Loads a state dict strictly.

    Args:
        module: what the weights are for.
        weights: by the module's names.
        path: what the sentence calls the file.
        optional: names that may be missing.
        extra_ok: names that the module does not have are ignored; so do published loaders that load heads for training along.

    Raises:
        CheckpointError: weights are missing, unknown, no tensors or of another shape.
    """
    check_weights(module, weights, path, optional, extra_ok)
    module.load_state_dict({name: weights[name] for name in module.state_dict() if name in weights}, strict=False)


def check_weights(
    module: nn.Module, weights: Mapping[str, Any], path: Path, optional: Callable[[str], bool] = lambda name: False, extra_ok: bool = False
) -> None:
    """Raises what :func:`load_weights` raises, and loads nothing; a module on the device ``meta`` will do."""
    own = module.state_dict()
    missing = [name for name in own if name not in weights and not optional(name)]
    unknown = [] if extra_ok else [name for name in weights if name not in own]
    wrong = [
        f"{name} is {_shape(weights[name])}, not {tuple(value.shape)}"
        for name, value in own.items()
        if name in weights and (not isinstance(weights[name], Tensor) or weights[name].shape != value.shape)
    ]
    faults = [("it lacks", missing), ("it has the unknown", unknown), ("of another shape:", wrong)]
    said = [f"{what} {_some(names)}" for what, names in faults if names]
    if said:
        raise CheckpointError(f"the weights of {path} do not fit: " + "; ".join(said))


def _shape(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
