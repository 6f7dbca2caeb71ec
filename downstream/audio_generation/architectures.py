"""Which network a state dict belongs to, and of what size: the public checkpoints are bare weights (specs/audio-generation.md, 6.1).

Files may hold anything: what is missing or odd in one is said of it by name (:func:`telling_of`).
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from utility.errors import CheckpointError, ConfigError, UnknownNameError
from utility.experiment.config import check_sections, load_config

Weights = Mapping[str, Tensor]

# name of the backbone -> a weight that it alone has
MARKS = {
    "samplernn": "model.frame_level_rnns.0.rnn.h0",
    "wavenet": "model.filter_convs.0.weight",
    "sashimi": "model.d_layers.0.linear.weight_v",
    "sashimi_standalone": "model.d_layers.0.linear.weight",
    "unet": "model.d_layers.0.layer.layer.D",
}


def backbone_of(weights: Weights) -> str | None:
    """The name of the backbone, or None."""
    return next((name for name, mark in MARKS.items() if mark in weights), None)


@contextmanager
def telling_of(checkpoint: Path | None) -> Iterator[None]:
    """What is wrong within the block is said of this file; of None: as it is.

    Raises:
        CheckpointError: in place of this or of a ConfigError about sizes and settings that the file gave.
    """
    try:
        yield
    except (CheckpointError, ConfigError, UnknownNameError) as error:
        if checkpoint is None:
            raise
        raise CheckpointError(f"{checkpoint}: {error}") from error


def config_of(path: Path) -> dict[str, Any]:
    """A config with the section ``downstream_expert``.

    Raises:
        ConfigError: unreadable, or without it.
    """
    made = load_config(path)
    check_sections(made, training=False, source=str(path))
    return made


def weights_in(content: Any) -> dict[str, Tensor]:
    """A state dict that a file holds.

    Raises:
        CheckpointError: it is none: no table of names and tensors of real numbers.
    """
    if not isinstance(content, Mapping):
        raise CheckpointError(f"its weights are of type {type(content).__name__}, no table of names and tensors")
    for name, value in content.items():
        if not isinstance(name, str):
            raise CheckpointError(f"the weight {name!r} has no name")
        if not isinstance(value, Tensor) or value.dtype is torch.bool or value.is_complex():
            raise CheckpointError(f"{name} is of type {getattr(value, 'dtype', type(value).__name__)}, no tensor of real numbers")
    return dict(content)


def shape_of(weights: Weights, name: str, *dimensions: int) -> torch.Size:
    """The shape of a weight.

    Args:
        weights: all of them.
        name: which.
        dimensions: how many it may have.

    Raises:
        CheckpointError: it is not there, is empty, or has another number of dimensions.
    """
    if name not in weights:
        raise CheckpointError(f"it has no {name}")
    shape = weights[name].shape
    if len(shape) not in dimensions or 0 in shape:
        raise CheckpointError(f"{name} has the shape {tuple(shape)}, not one of {' or '.join(map(str, dimensions))} dimensions")
    return shape


def check_same(checkpoint: Path, found: Weights, wanted: Weights) -> None:
    """Compares the weights of a file with those of the network that the config describes.

    Raises:
        CheckpointError: names or shapes differ, or there is no real number where one is wanted.
    """
    wrong = sorted(name for name in wanted.keys() | found.keys() if not _same(found.get(name), wanted.get(name)))
    if wrong:
        there, here = (_told(side.get(wrong[0])) for side in (found, wanted))
        raise CheckpointError(
            f"{checkpoint} has {there} for {wrong[0]}, where the config has {here} ({len(wrong)} weights differ); --config takes another"
        )


def _same(found: Tensor | None, wanted: Tensor | None) -> bool:
    if found is None or wanted is None:
        return False
    return found.shape == wanted.shape and (found.is_floating_point() or not wanted.is_floating_point())


def _told(value: Tensor | None) -> str:
    return "nothing" if value is None else f"{tuple(value.shape)} of {str(value.dtype).removeprefix('torch.')}"


def sizes_of(name: str, weights: Weights) -> dict[str, Any]:
    """The fields of ``modelrc`` that shapes tell; others, such as the dilations of WaveNet, are left to the config.

    Raises:
        CheckpointError: a weight that tells them is missing or has an odd shape.
    """
    return _SIZES[name](weights)


def count(weights: Weights, pattern: str) -> int:
    """How many numbers there are at the place of ``*`` in names that begin like this."""
    expression = re.compile(re.escape(pattern).replace(r"\*", r"(\d+)"))
    return len({found[1] for name in weights if (found := expression.match(name))})


def _begins(weights: Weights, prefix: str) -> bool:
    return any(name.startswith(prefix) for name in weights)


def _samplernn(weights: Weights) -> dict[str, Any]:
    tiers = count(weights, "model.frame_level_rnns.*.")
    frames = [1] + [shape_of(weights, f"model.frame_level_rnns.{i}.input_expand.weight_v", 3)[1] for i in range(tiers)]
    n_rnn, _, d_hidden = shape_of(weights, MARKS["samplernn"], 3)
    return {
        "frame_sizes": [late // early for early, late in itertools.pairwise(frames)],
        "n_rnn": n_rnn,
        "d_hidden": d_hidden,
        "d_model": shape_of(weights, "model.sample_level_mlp.embedding.weight", 2)[1],
    }


def _wavenet(weights: Weights) -> dict[str, Any]:
    dilated, skip, end = (shape_of(weights, f"model.{name}.weight", 3) for name in ("filter_convs.0", "skip_convs.0", "end_conv_1"))
    return {
        "dilation_channels": dilated[0],
        "residual_channels": dilated[1],
        "kernel_size": dilated[2],
        "skip_channels": skip[0],
        "end_channels": end[0],
    }


def pools_of(weights: Weights, names: Sequence[str], width: int) -> tuple[list[int], list[int]]:
    """What each pool on the way down joins, and the width at each level, from above.

    Args:
        weights: all of them.
        names: of the pools' weights (outputs, inputs), or (outputs, inputs, 1).
        width: above the first pool.

    Raises:
        CheckpointError: one is missing, has an odd shape, or reads no multiple of the width above it.
    """
    joined, widths = [], [width]
    for name in names:
        outputs, inputs = shape_of(weights, name, 2, 3)[:2]
        if inputs % widths[-1]:
            raise CheckpointError(f"{name} has {inputs} inputs, no multiple of the {widths[-1]} before it")
        joined.append(inputs // widths[-1])
        widths.append(outputs)
    return joined, widths


def _sashimi(weights: Weights) -> dict[str, Any]:
    """Of the three forms: the pools are those layers on the way down that have a ``linear`` of their own, with or without weight norm."""
    width = shape_of(weights, "encoder.0.weight", 2)[1]
    layers = [f"model.d_layers.{i}.linear." for i in range(count(weights, "model.d_layers.*."))]
    ends = {layer: "weight_v" if _begins(weights, f"{layer}weight_") else "weight" for layer in layers if _begins(weights, layer)}
    pool, widths = pools_of(weights, [layer + end for layer, end in ends.items()], width)
    block = "model.c_layers.0.layer."
    inner = f"{block}layer." if _begins(weights, f"{block}layer.") else block
    copies, wide = shape_of(weights, f"{inner}kernel.A_real", 2)[0], widths[-1]
    layer = {
        "d_state": 2 * shape_of(weights, f"{inner}kernel.C", 4)[-2],
        "n_ssm": None if copies == wide else copies,
        "final_act": "glu" if shape_of(weights, f"{block}output_linear.0.weight", 2, 3)[0] == 2 * wide else "id",
    }
    return {
        "d_model": width,
        "n_layers": count(weights, "model.c_layers.*.") // 2,
        "pool": pool,
        "expand": round(math.pow(wide / width, 1 / max(1, len(pool)))),
        "layer": layer,
    }


def _standalone(weights: Weights) -> dict[str, Any]:
    sizes = _sashimi(weights)
    return {**{name: value for name, value in sizes.items() if name != "layer"}, "d_state": sizes["layer"]["d_state"]}


_SIZES: dict[str, Callable[[Weights], dict[str, Any]]] = {
    "samplernn": _samplernn,
    "wavenet": _wavenet,
    "sashimi": _sashimi,
    "unet": _sashimi,
    "sashimi_standalone": _standalone,
}
