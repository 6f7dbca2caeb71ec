"""Checkpoints under SHEET's names: the n best, a link to the best, and parts of one as the beginning of another training."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from downstream.blocks.corpus_task import SOURCE
from utility.errors import CheckpointError, ConfigError
from utility.experiment import checkpoint as files
from utility.training.fields import check_fields, check_lists, check_texts

BEST = "checkpoint-best.pkl"
UPSTREAM = "ssl_model"
INIT = f"{SOURCE}.modelrc.init"
_NAME = re.compile(r"checkpoint-(\d+)steps\.pkl")


def name_of(step: int) -> str:
    """The file of a step."""
    return f"checkpoint-{step}steps.pkl"


def keep_best(folder: Path, kept: Sequence[int], link: str) -> None:
    """Points the link to the first of the steps whose file is there, and removes the files of all others.

    The link is relative, so that it holds in a moved folder.
    """
    there = {int(match[1]): path for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))}
    best = next((step for step in kept if step in there), None)
    if best is None:
        return
    fresh = folder / f"{link}.{os.getpid()}"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(there[best].name)
    fresh.replace(folder / link)
    for step, path in there.items():
        if step not in kept:
            path.unlink()


def begin_with_parts(init: Mapping[str, Any], upstream: nn.Module, model: nn.Module) -> None:
    """Takes modules of another training: ``{checkpoint: FILE, modules: [ssl_model, mean_net_dnn ...]}``.

    Raises:
        CheckpointError: the checkpoint has not these modules, or with other shapes.
        ConfigError: another field.
    """
    check_fields(init, ("checkpoint", "modules"), ("checkpoint", "modules"), source=INIT)
    check_texts(init, ("checkpoint",), source=INIT)
    check_lists(init, ("modules",), source=INIT)
    state = files.load(Path(init["checkpoint"]))
    for name in init["modules"]:
        if name == UPSTREAM:
            _take(upstream, state.get("Upstream") or {}, "", init["checkpoint"], name)
        else:
            _take(model, state.get("Downstream") or {}, f"model.{name}.", init["checkpoint"], name, f"{name}.")


def _take(module: nn.Module, state: Mapping[str, Any], prefix: str, path: str, name: str, own: str = "") -> None:
    given = {own + key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix) and isinstance(value, Tensor)}
    wanted = {key: value for key, value in module.state_dict().items() if key.startswith(own) and isinstance(value, Tensor)}
    if not wanted:
        raise ConfigError(f"this predictor has no module {name!r}", f"{INIT}.modules")
    faults = _differences(given, wanted)
    if faults:
        raise CheckpointError(f"{path} does not fit the module {name}: {', '.join(faults[:3])}{' ...' * (len(faults) > 3)}")
    with torch.no_grad():
        for key, value in module.state_dict().items():
            if key in given:
                value.copy_(given[key])


def _differences(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    missing: Collection[str] = [f"{key} is missing" for key in wanted if key not in given]
    shapes = [
        f"{key} is {tuple(given[key].shape)}, not {tuple(value.shape)}"
        for key, value in wanted.items()
        if key in given and given[key].shape != value.shape
    ]
    return [*missing, *shapes]
