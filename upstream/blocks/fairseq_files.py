"""Checkpoints of fairseq models, in the layouts that exist, as plain settings and weights (specs/upstreams.md, section 14).

| form | settings | weights |
| --- | --- | --- |
| ``converted`` (S3PRL) | ``model_cfg``, ``task_cfg`` | ``model_weight`` |
| ``args`` (before 2021) | ``args``, one flat namespace for model and task | ``model`` |
| ``cfg`` (since) | ``cfg`` with ``model`` and ``task``, a dict or a pickled omegaconf ``DictConfig`` | ``model`` |

Files of the WavLM kind, whose ``cfg`` is the model's settings themselves, count as ``cfg`` as well. As in fairseq, ``args`` goes before
``cfg``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from utility.errors import CheckpointError
from utility.experiment.rebuild import record_to_plain

_INTERPOLATION = re.compile(r"\$\{([\w.]+)\}")
_MISSING = "???"


@dataclass(frozen=True)
class FairseqModel:
    """What a file says of a model.

    Args:
        model: settings of the model, plain data; those that the file does not give are absent (the defaults differ between the forms and
            are the caller's business). The same dict as ``task`` in the form ``args``, and where ``cfg`` is the model's settings.
        task: settings of the task, such as ``normalize``.
        weights: by fairseq's names; entries of the state dict that are no tensors are left out.
        form: the layout.
        symbols: of each label dictionary, its entries (HuBERT); empty where the file has none.
        others: names of the entries of the state dict that are no tensors (data2vec's ``_ema``).
    """

    model: dict[str, Any]
    task: dict[str, Any]
    weights: dict[str, Tensor]
    form: Literal["converted", "args", "cfg"]
    symbols: list[list[str]] = field(default_factory=list)
    others: frozenset[str] = frozenset()


def read_fairseq(content: Mapping[Any, Any], path: Path | str) -> FairseqModel:
    """Reads what :func:`utility.networks.weights.read_checkpoint` returned.

    Raises:
        CheckpointError: the file has none of the layouts; the sentence says what it lacks and what it holds.
    """
    if content.get("model_weight") is not None:
        model, task = _settings(content, "model_cfg", path), _settings(content, "task_cfg", path, needed=False)
        weights, others = _weights(content, "model_weight", path), _others(content, "model_weight")
        return FairseqModel(_given(model, {}), _given(task, {}), weights, "converted", _symbols(content), others)
    if content.get("args") is not None:
        flat = _given(_settings(content, "args", path), {})
        return FairseqModel(flat, flat, _weights(content, "model", path), "args", _symbols(content), _others(content, "model"))
    if content.get("cfg") is not None:
        cfg = _settings(content, "cfg", path)
        model, task = (cfg["model"], _settings(cfg, "task", path, needed=False)) if isinstance(cfg.get("model"), dict) else (cfg, cfg)
        weights, settings = _weights(content, "model", path), _given(model, cfg)
        task = settings if task is model else _given(task, cfg)
        return FairseqModel(settings, task, weights, "cfg", _symbols(content), _others(content, "model"))
    there = ", ".join(map(str, list(content)[:8])) or "nothing"
    raise CheckpointError(
        f"{path} is no fairseq checkpoint: it has neither 'model_cfg' with 'model_weight' nor 'args' or 'cfg' with 'model'; "
        f"it holds {there}"
    )


def _settings(content: Mapping[Any, Any], name: str, path: Path | str, needed: bool = True) -> dict[str, Any]:
    settings = record_to_plain(content.get(name))
    if settings is None and not needed:
        return {}
    if not isinstance(settings, dict):
        raise CheckpointError(f"{path} has no settings under {name!r}, but a {type(content.get(name)).__name__}")
    return settings


def _weights(content: Mapping[Any, Any], name: str, path: Path | str) -> dict[str, Tensor]:
    """The tensors of a state dict; what else lies in it (data2vec's nested teacher) is left out."""
    weights = content.get(name)
    tensors = {key: value for key, value in weights.items() if isinstance(value, Tensor)} if isinstance(weights, Mapping) else {}
    if not tensors:
        raise CheckpointError(f"{path} has no weights under {name!r}, but {_kind(content, name)}")
    return tensors


def _others(content: Mapping[Any, Any], name: str) -> frozenset[str]:
    return frozenset(key for key, value in content[name].items() if isinstance(key, str) and not isinstance(value, Tensor))


def _kind(content: Mapping[Any, Any], name: str) -> str:
    value = content.get(name)
    return "nothing" if value is None else f"a {type(value).__name__} without tensors"


def _given(settings: Mapping[str, Any], root: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that have a value; omegaconf's references to others (``${task.normalize}``) are followed one step."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, str) and (match := _INTERPOLATION.fullmatch(value)):
            value = _at(root, match[1])
        if not isinstance(value, str) or (value != _MISSING and not _INTERPOLATION.fullmatch(value)):
            found[key] = value
    return found


def _at(root: Mapping[str, Any], dotted: str) -> Any:
    value: Any = root
    for part in dotted.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return _MISSING
        value = value[part]
    return value


def _symbols(content: Mapping[Any, Any]) -> list[list[str]]:
    """HuBERT's labels: ``dictionaries_symbols`` of converted files, fairseq's pickled dictionaries otherwise."""
    if isinstance(content.get("dictionaries_symbols"), list):
        return [list(symbols) for symbols in content["dictionaries_symbols"] if isinstance(symbols, list | tuple)]
    state = record_to_plain(content.get("task_state") or {})
    dictionaries = state.get("dictionaries") if isinstance(state, dict) else None
    return [list(one["symbols"]) for one in dictionaries or () if isinstance(one, dict) and isinstance(one.get("symbols"), list)]
