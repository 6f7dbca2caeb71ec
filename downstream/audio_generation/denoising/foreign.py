"""Checkpoints of DiffWave's public code, ``<iteration>.pkl``, for ``utility/import_checkpoint.py``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, tensor

from downstream.blocks.foreign import Foreign
from utility.errors import CheckpointError, ConfigError

from ..architectures import Weights, check_same, config_of, pools_of, shape_of, telling_of, weights_in
from ..models.diffwave import DiffWave, build_diffwave
from ..models.s4_names import renewed
from ..settings import SOURCE
from .settings import DenoisingSettings

FOLDER = Path(__file__).resolve().parents[1]
KEY = "model_state_dict"
SCHEDULE = re.compile(r"_T(\d+)_betaT(\d*\.?\d+)")


def convert(checkpoint: Path, content: Mapping[str, Any], config: Path | None = None) -> Foreign:
    """Takes over what was read of a checkpoint.

    Args:
        checkpoint: the file; the folders' names tell the schedule, its own the number of updates.
        content: with the weights under :data:`KEY`.
        config: one of ours; by default a shipped one with the sizes of the weights.

    Raises:
        CheckpointError: not such a network. ConfigError: the config that was given does not fit.
    """
    with telling_of(checkpoint):
        weights = renewed({name.removeprefix("module."): value for name, value in weights_in(content[KEY]).items()})
    if "init_conv.0.conv.weight_v" not in weights:
        raise CheckpointError(f"{checkpoint} holds no DiffWave: it has no init_conv.0.conv.weight_v")
    made = config_of(config or FOLDER / f"{_shipped(weights)}.yaml")
    expert = made["downstream_expert"]
    with telling_of(checkpoint if config is None else None):
        if config is None:
            expert["modelrc"] = {"_name_": "diffwave", **sizes_of(weights)}
            if found := SCHEDULE.search(checkpoint.resolve().as_posix()):
                expert["diffusion"] |= {"T": int(found[1]), "beta_T": float(found[2])}
        wanted = _network(expert).state_dict()
    fitted = {name: _fitted(value, wanted.get(name)) for name, value in weights.items()}
    check_same(checkpoint, fitted, wanted)
    state: dict[str, Any] = {f"model.{name}": value for name, value in fitted.items()}
    state |= {"best_score": tensor([float("inf")])}
    step = int(checkpoint.stem) if checkpoint.stem.isdecimal() else 0
    return Foreign("waveform", None, made, state, step=step)


def _shipped(weights: Weights) -> str:
    if any(".mel_conv." in name for name in weights):
        return "diffwave-ljspeech"
    return "diffwave-wavenet-sc09" if _is_wavenet(weights) else "diffwave-sc09"


def _network(expert: Mapping[str, Any]) -> DiffWave:
    settings = DenoisingSettings.of(expert)
    if settings.model.get("_name_") != "diffwave":
        raise ConfigError(f"the checkpoint is of DiffWave, not of {settings.model.get('_name_')!r}", f"{SOURCE}.modelrc")
    return build_diffwave(settings.model, f"{SOURCE}.modelrc")


def _fitted(value: Tensor, wanted: Tensor | None) -> Tensor:
    """Dimensions of one element come and go between versions."""
    if wanted is not None and [n for n in value.shape if n != 1] == [n for n in wanted.shape if n != 1]:
        return value.reshape(wanted.shape)
    return value


def sizes_of(weights: Weights) -> dict[str, Any]:
    """The fields of ``modelrc`` that shapes tell, and the public values of those that they do not.

    Raises:
        CheckpointError: a weight that tells them is missing or has an odd shape.
    """
    wavenet = _is_wavenet(weights)
    group, block = ("residual_layer.", "residual_layer.residual_blocks.0.") if wavenet else ("", "c_layers.0.")
    upsample = [name for name in sorted(weights) if name.startswith(f"{block}upsample_conv2d.") and name.endswith("_v")]
    middle, first = shape_of(weights, f"{group}fc_t1.weight", 2)
    common = {
        "diffusion_step_embed_dim_in": first,
        "diffusion_step_embed_dim_mid": middle,
        "diffusion_step_embed_dim_out": shape_of(weights, f"{group}fc_t2.weight", 2)[0],
        "unconditional": not upsample,
    }
    if upsample:
        common["mel_upsample"] = [shape_of(weights, name, 4)[-1] // 2 for name in upsample]
    return {**common, **(_wavenet(weights) if wavenet else _sashimi(weights, bool(upsample)))}


def _is_wavenet(weights: Weights) -> bool:
    return any(name.startswith("residual_layer.") for name in weights)


def _count(weights: Weights, prefix: str) -> int:
    return len({name[len(prefix) :].partition(".")[0] for name in weights if name.startswith(prefix)})


def _width(weights: Weights, name: str) -> int:
    """The outputs of a layer that is a convolution over one sample, or linear."""
    return shape_of(weights, name, 2, 3)[0]


def _wavenet(weights: Weights) -> dict[str, Any]:
    """All published weights are of the code that changed its input in place; how often the dilations begin again goes with the depth."""
    layers = _count(weights, "residual_layer.residual_blocks.")
    return {
        "backbone": "wavenet",
        "res_channels": _width(weights, "init_conv.0.conv.weight_v"),
        "skip_channels": _width(weights, "final_conv.0.conv.weight_v"),
        "num_res_layers": layers,
        "dilation_cycle": 12 if layers % 12 == 0 else 10,
        "step_stays": True,
    }


def _sashimi(weights: Weights, conditional: bool) -> dict[str, Any]:
    width = _width(weights, "init_conv.0.conv.weight_v")
    layers = [f"d_layers.{i}.linear." for i in range(_count(weights, "d_layers."))]
    places = [f"{layer}conv.weight_v" for layer in layers if any(name.startswith(layer) for name in weights)]
    if not places:
        raise CheckpointError("it has no pool: no d_layers.*.linear.conv.weight_v")
    pool, widths = pools_of(weights, places, width)
    kernel = "c_layers.0.layer.layer.kernel."
    copies, (channels, *_, modes, _) = shape_of(weights, f"{kernel}A_real", 2)[0], shape_of(weights, f"{kernel}C", 4)
    output = _width(weights, "c_layers.0.layer.output_linear.0.weight")
    return {
        "backbone": "sashimi",
        "d_model": width,
        "n_layers": _count(weights, "c_layers."),
        "pool": pool,
        "expand": widths[1] // width,
        "ff": _width(weights, "c_layers.0.ff.ff.0.conv.weight_v") // widths[-1],
        "unet": not any(name.startswith("d_layers.0.linear.") for name in weights),
        "L": _length(weights),
        "bidirectional": channels == 2,
        "layer": {
            "mode": "dplr" if any(name.endswith(".kernel.P") for name in weights) else "diag",
            "d_state": 2 * modes,
            "n_ssm": None if copies == widths[-1] else copies,
            "final_act": "glu" if output == 2 * widths[-1] else "id",
        },
        **({"mel_truncated": True} if conditional else {}),
    }


def _length(weights: Weights) -> int | None:
    """What the topmost kernel has been made for; None where nothing says so."""
    name = f"u_layers.{_count(weights, 'u_layers.') - 1}.layer.layer.kernel.l_kernel"
    if name not in weights:
        return None
    if weights[name].numel() != 1 or not weights[name].isfinite():
        raise CheckpointError(f"{name} of the shape {tuple(weights[name].shape)} is no length")
    return int(weights[name]) or None
