"""Checkpoints of SHEET for ``utility/import_checkpoint.py``: pickles with optimizer, and the bare weights of its hub."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from downstream.blocks.foreign import Foreign
from utility.errors import CheckpointError, UnknownNameError
from utility.experiment.config import load_config
from utility.experiment.unpickle import load_foreign

from .sheet import encoder_of, head_of, translated, upstream_of, vocabularies_of

ENCODERS = Path(__file__).with_name("encoders.yaml")
SETTINGS = "config.yml"
LINK_HINT = "give the checkpoint that it means"


def convert(checkpoint: Path, config: Path | None = None, upstream: Path | None = None) -> Foreign:
    """Reads a checkpoint of SHEET.

    Args:
        checkpoint: ``checkpoint-<steps>steps.pkl``, the link ``checkpoint-best.pkl`` or ``checkpoint-best.bin``.
        config: ``config.yml``; by default the one beside it.
        upstream: an encoder's file that S3PRL can load, whose settings are those of the checkpoint's; needed where the checkpoint's
            encoder is none of encoders.yaml in their published sizes.

    Raises:
        CheckpointError, ConfigError: unreadable, or not SHEET's.
    """
    path = linked(checkpoint)
    given = load_config(config or path.with_name(SETTINGS))
    content = load_foreign(path)
    weights = content.get("model", content) if isinstance(content, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise CheckpointError(f"{path} is no checkpoint of SHEET: it holds no dictionary of weights")
    head, encoder, (name, layer) = head_of(weights), encoder_of(weights, path), upstream_of(given)
    entry, file = _encoder(name, encoder, upstream, path) if encoder else (name, None)
    downstream = {**head, "_extra_state": {"vocabularies": vocabularies_of(given, head)}}
    args = {} if layer is None else {"upstream_layer_selection": layer}
    step = int(content.get("steps", 0)) if "model" in content else 0
    return Foreign(entry, file, translated(given, trained_there=True), downstream, args, step)


def linked(checkpoint: Path) -> Path:
    """The file that a link means: SHEET's links hold paths below the folder of the recipe, which are broken from anywhere else.

    Raises:
        CheckpointError: it is nowhere.
    """
    if not checkpoint.is_symlink() or checkpoint.exists():
        return checkpoint
    beside = checkpoint.with_name(checkpoint.readlink().name)
    if not beside.exists():
        raise CheckpointError(f"{checkpoint} is a link to {checkpoint.readlink()}, which is not there; {LINK_HINT}")
    return beside


def _encoder(name: str, weights: Mapping[str, Tensor], like: Path | None, path: Path) -> tuple[str, dict[str, Any]]:
    """Our entry, and S3PRL's file, of an encoder with these weights."""
    known = yaml.safe_load(ENCODERS.read_text(encoding="utf-8"))
    if name not in known:
        raise UnknownNameError(f"encoder (s3prl_name) of {path}", name, known)
    if like is None:
        return known[name]["entry"], _s3prl_file({"normalize": known[name]["normalize"]}, known[name]["settings"], weights)
    content = load_foreign(like)
    if isinstance(content, dict) and "cfg" in content:  # WavLM's own files
        return known[name]["entry"], {"cfg": content["cfg"], "model": dict(weights)}
    if not isinstance(content, dict) or not isinstance(content.get("model_cfg"), dict):
        raise CheckpointError(f"{like} is no encoder in S3PRL's form: it holds no model_cfg")
    return known[name]["entry"], _s3prl_file(content.get("task_cfg") or {}, content["model_cfg"], weights)


def _s3prl_file(task: Mapping[str, Any], settings: Mapping[str, Any], weights: Mapping[str, Tensor]) -> dict[str, Any]:
    return {"task_cfg": dict(task), "model_cfg": dict(settings), "model_weight": dict(weights)}
