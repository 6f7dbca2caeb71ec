"""Which network a state dict belongs to, and of what size: the public checkpoints are bare weights (specs/audio-generation.md, 6.1)."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from utility.errors import CheckpointError


class Weights(dict[str, Tensor]):
    """Weights by name.

    Args:
        weights: what is called so of the file; what is no tensor is left out.
        source: the file that they come from.
    """

    def __init__(self, weights: Mapping[str, Any], source: Path):
        super().__init__({name: value for name, value in weights.items() if isinstance(value, Tensor)})
        self.source = source

    def size(self, name: str, dimension: int = 0) -> int:
        """How large a weight is in one of its dimensions.

        Raises:
            CheckpointError: there is no such weight, or it has no such dimension, or nothing in it.
        """
        if name not in self:
            raise CheckpointError(f"{self.source} has no {name}, which such a network has")
        shape = self[name].shape
        if dimension >= len(shape) or -dimension > len(shape) or not shape[dimension]:
            raise CheckpointError(f"{self.source}: {name} has the shape {tuple(shape)}, which it has in no such network")
        return shape[dimension]

    def check(self, wanted: Mapping[str, Tensor]) -> None:
        """Refuses weights that a network does not have, or has in another shape.

        Raises:
            CheckpointError: with the first of them.
        """
        here, there = ({name: value.shape for name, value in side.items()} for side in (wanted, self))
        if wrong := sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name)):
            first, second = (str(tuple(side[wrong[0]])) if wrong[0] in side else "nothing" for side in (there, here))
            raise CheckpointError(
                f"{self.source} has {first} for {wrong[0]}, where the config has {second} ({len(wrong)} weights differ); "
                "--config takes another"
            )


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
    """The fields of ``modelrc`` that shapes tell; others, such as the dilations of WaveNet, are left to the config.

    Raises:
        CheckpointError: a weight that tells a size is missing, or of a strange shape.
    """
    return _SIZES[name](weights)


def count(weights: Weights, pattern: str) -> int:
    """How many numbers there are at the place of ``*`` in names that begin like this."""
    expression = re.compile(re.escape(pattern).replace(r"\*", r"(\d+)"))
    return len({found[1] for name in weights if (found := expression.match(name))})


def _samplernn(weights: Weights) -> dict[str, Any]:
    tiers = count(weights, "model.frame_level_rnns.*.")
    frames = [1] + [weights.size(f"model.frame_level_rnns.{i}.input_expand.weight_v", 1) for i in range(tiers)]
    if any(late % early for early, late in itertools.pairwise(frames)):
        raise CheckpointError(
            f"{weights.source} has tiers over {', '.join(map(str, frames[1:]))} codes, which are no multiples of each other"
        )
    return {
        "frame_sizes": [late // early for early, late in itertools.pairwise(frames)],
        "n_rnn": weights.size(MARKS["samplernn"], 0),
        "d_hidden": weights.size(MARKS["samplernn"], 2),
        "d_model": weights.size("model.sample_level_mlp.embedding.weight", 1),
    }


def _wavenet(weights: Weights) -> dict[str, Any]:
    dilated = MARKS["wavenet"]
    return {
        "dilation_channels": weights.size(dilated, 0),
        "residual_channels": weights.size(dilated, 1),
        "kernel_size": weights.size(dilated, 2),
        "skip_channels": weights.size("model.skip_convs.0.weight"),
        "end_channels": weights.size("model.end_conv_1.weight"),
    }


def _sashimi(weights: Weights) -> dict[str, Any]:
    """Of the three forms: the pools are those layers on the way down that have a ``linear`` of their own."""
    width = weights.size("encoder.0.weight", 1)
    pools = [f"model.d_layers.{i}.linear." for i in range(count(weights, "model.d_layers.*."))]
    down = [f"{pool}weight_v" if f"{pool}weight_v" in weights else f"{pool}weight" for pool in pools if f"{pool}bias" in weights]
    widths = [width] + [weights.size(name) for name in down]
    block = "model.c_layers.0.layer."
    inner = f"{block}layer." if f"{block}layer.D" in weights else block
    copies, wide = weights.size(f"{inner}kernel.A_real"), widths[-1]
    layer = {
        "d_state": 2 * weights.size(f"{inner}kernel.C", -2),
        "n_ssm": None if copies == wide else copies,
        "final_act": "glu" if weights.size(f"{block}output_linear.0.weight") == 2 * wide else "id",
    }
    return {
        "d_model": width,
        "n_layers": count(weights, "model.c_layers.*.") // 2,
        "pool": [weights.size(name, 1) // narrow for name, narrow in zip(down, widths, strict=False)],
        "expand": round((wide / width) ** (1 / max(1, len(down)))),
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
