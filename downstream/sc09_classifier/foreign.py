"""The public SC09 classifier for ``utility/import_checkpoint.py``: the pickled module, a checkpoint of its training, or a state dict."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from downstream.blocks.foreign import Foreign
from downstream.blocks.sc09 import DIGITS
from utility.errors import CheckpointError, UsageError
from utility.experiment.config import check_sections, load_config
from utility.experiment.rebuild import Record, module_state
from utility.experiment.unpickle import load_foreign
from utility.networks.weights import load_weights

from .model import FIRST, ResNeXt

FAMILIES = ("models",)  # what the public program calls the package of its networks
CONFIG = Path(__file__).with_name("config.yaml")


def convert(checkpoint: Path, config: Path | None = None, upstream: Path | None = None) -> Foreign:
    """Reads a classifier; nothing of the file is executed.

    Args:
        checkpoint: ``resnext.pth``, ``<time>-<name>-best-{loss,acc}.pth`` (the whole module), or ``checkpoints/*.pth``.
        config: settings of this toolkit that it is to have; by default config.yaml with the sizes of the network.
        upstream: has no place here.

    Raises:
        CheckpointError: unreadable, or no such network.
    """
    if upstream is not None:
        raise UsageError("--upstream has no place here: the classifier makes its own spectrograms")
    content = load_foreign(checkpoint, FAMILIES)
    weights = {name.removeprefix("module."): value for name, value in weights_of(content, checkpoint).items()}
    sizes = sizes_of(weights, checkpoint)
    load_weights(ResNeXt(**sizes), weights, checkpoint)
    settings = load_config(config or CONFIG)
    check_sections(settings, training=False, source=str(config or CONFIG))
    if config is None:
        settings["downstream_expert"]["datarc"]["pad_mode"] = "reflect"  # what librosa did when the published one was trained
    settings["downstream_expert"]["modelrc"] = sizes
    state = {f"model.{name}": value for name, value in weights.items()}
    state |= {"best_score": torch.zeros(1), "least_loss": torch.full((1,), torch.inf)}
    state["_extra_state"] = {"vocabularies": {"digit": list(DIGITS)}}
    return Foreign("waveform", None, settings, state, step=step_of(content))


def weights_of(content: Any, path: Path) -> Mapping[str, Tensor]:
    """The state dict of a pickled module, of a checkpoint (``state_dict``), or the content itself.

    Raises:
        CheckpointError: none of these.
    """
    if isinstance(content, Record):
        return module_state(content)
    weights = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(weights, Mapping) or not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in weights.items()):
        raise CheckpointError(f"{path} is no SC09 classifier: neither a pickled module nor a dictionary of weights")
    return weights


def sizes_of(weights: Mapping[str, Tensor], path: Path) -> dict[str, int]:
    """The arguments of :class:`.model.ResNeXt` that the shapes of the weights tell.

    Raises:
        CheckpointError: they are no such network's.
    """
    first = "stage_1.stage_1_bottleneck_0."
    inner, width = _shape(weights, f"{first}conv_conv.weight", 4, path)[:2]
    expanded = _shape(weights, f"{first}conv_expand.weight", 4, path)[0]
    (classes,) = _shape(weights, "classifier.bias", 1, path)
    if classes != len(DIGITS):
        raise CheckpointError(f"{path} tells {classes} classes apart, not the {len(DIGITS)} digits")
    if inner < width or expanded < FIRST:
        raise CheckpointError(f"{path} is no SC09 classifier: {first}conv_* of {inner} by {width} and {expanded} channels are none of its")
    blocks = len({name.split(".")[1] for name in weights if name.startswith("stage_1.")})
    return {"cardinality": inner // width, "depth": 2 + 9 * blocks, "base_width": width, "widen_factor": expanded // FIRST}


def _shape(weights: Mapping[str, Tensor], name: str, dimensions: int, path: Path) -> torch.Size:
    if name not in weights:
        raise CheckpointError(f"{path} is no SC09 classifier: it has no {name!r}")
    shape = weights[name].shape
    if len(shape) != dimensions or 0 in shape:
        raise CheckpointError(f"{path} is no SC09 classifier: {name} has the shape {tuple(shape)}, not one of {dimensions} dimensions")
    return shape


def step_of(content: Any) -> int:
    """Updates done, where the file says so."""
    step = content.get("step", 0) if isinstance(content, Mapping) else 0
    return step if type(step) is int and step >= 0 else 0
