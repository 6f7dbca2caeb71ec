"""Which network a state dict belongs to, and of what size: the public checkpoints are bare weights (specs/audio-generation.md, 6.1)."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

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


def sizes_of(name: str, weights: Weights) -> dict[str, Any]:
    """The fields of ``modelrc`` that shapes tell; others, such as the dilations of WaveNet, are left to the config."""
    return _SIZES[name](weights)


def count(weights: Weights, pattern: str) -> int:
    """How many numbers there are at the place of ``*`` in names that begin like this."""
    expression = re.compile(re.escape(pattern).replace(r"\*", r"(\d+)"))
    return len({found[1] for name in weights if (found := expression.match(name))})


def _samplernn(weights: Weights) -> dict[str, Any]:
    tiers = count(weights, "model.frame_level_rnns.*.")
    frames = [1] + [weights[f"model.frame_level_rnns.{i}.input_expand.weight_v"].size(1) for i in range(tiers)]
    return {
        "frame_sizes": [late // early for early, late in itertools.pairwise(frames)],
        "n_rnn": weights[MARKS["samplernn"]].size(0),
        "d_hidden": weights[MARKS["samplernn"]].size(2),
        "d_model": weights["model.sample_level_mlp.embedding.weight"].size(1),
    }


def _wavenet(weights: Weights) -> dict[str, Any]:
    dilated, skip, end = (weights[f"model.{name}.weight"] for name in ("filter_convs.0", "skip_convs.0", "end_conv_1"))
    return {
        "dilation_channels": dilated.size(0),
        "residual_channels": dilated.size(1),
        "kernel_size": dilated.size(2),
        "skip_channels": skip.size(0),
        "end_channels": end.size(0),
    }


def _sashimi(weights: Weights) -> dict[str, Any]:
    """Of the three forms: the pools are those layers on the way down that have a ``linear`` of their own."""
    width = weights["encoder.0.weight"].size(1)
    down = [
        next(weights[key] for end in ("weight_v", "weight") if (key := f"model.d_layers.{i}.linear.{end}") in weights)
        for i in range(count(weights, "model.d_layers.*."))
        if f"model.d_layers.{i}.linear.bias" in weights
    ]
    widths = [width] + [weight.size(0) for weight in down]
    block = "model.c_layers.0.layer."
    inner = f"{block}layer." if f"{block}layer.D" in weights else block
    kernel, output = f"{inner}kernel.", weights[f"{block}output_linear.0.weight"]
    copies, wide = weights[f"{kernel}A_real"].size(0), widths[-1]
    layer = {
        "d_state": 2 * weights[f"{kernel}C"].size(-2),
        "n_ssm": None if copies == wide else copies,
        "final_act": "glu" if output.size(0) == 2 * wide else "id",
    }
    return {
        "d_model": width,
        "n_layers": count(weights, "model.c_layers.*.") // 2,
        "pool": [weight.size(1) // narrow for weight, narrow in zip(down, widths, strict=False)],
        "expand": round(math.pow(wide / width, 1 / max(1, len(down)))),
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
