"""Checkpoints of DiffWave's public code, ``<iteration>.pkl``, for ``utility/import_checkpoint.py``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, tensor

from downstream.blocks.foreign import Foreign
from utility.errors import CheckpointError
from utility.experiment.config import load_config

from ..architectures import Weights
from ..models.diffwave import build_diffwave
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
        CheckpointError: not such a network. ConfigError: the config does not fit.
    """
    given = {str(name).removeprefix("module."): value for name, value in content[KEY].items() if isinstance(value, Tensor)}
    weights = Weights(renewed(given), checkpoint)
    if "init_conv.0.conv.weight_v" not in weights:
        raise CheckpointError(f"{checkpoint} holds no DiffWave: it has no init_conv.0.conv.weight_v")
    made = load_config(config or FOLDER / f"{_shipped(weights)}.yaml")
    if config is None:
        expert = made["downstream_expert"]
        expert["modelrc"] = {"_name_": "diffwave", **sizes_of(weights)}
        if found := SCHEDULE.search(checkpoint.resolve().as_posix()):
            expert["diffusion"] |= {"T": int(found[1]), "beta_T": float(found[2])}
    wanted = build_diffwave(DenoisingSettings.of(made.get("downstream_expert")).model, f"{SOURCE}.modelrc").state_dict()
    fitted = Weights({name: _fitted(value, wanted.get(name)) for name, value in weights.items()}, checkpoint)
    fitted.check(wanted)
    state: dict[str, Any] = {f"model.{name}": value for name, value in fitted.items()}
    state |= {"best_score": tensor([float("inf")])}
    step = int(checkpoint.stem) if checkpoint.stem.isdigit() else 0
    return Foreign("waveform", None, made, state, step=step)


def _shipped(weights: Weights) -> str:
    if any(".mel_conv." in name for name in weights):
        return "diffwave-ljspeech"
    return "diffwave-wavenet-sc09" if "residual_layer.fc_t1.weight" in weights else "diffwave-sc09"


def _fitted(value: Tensor, wanted: Tensor | None) -> Tensor:
    """Dimensions of one element come and go between versions."""
    if wanted is not None and [n for n in value.shape if n != 1] == [n for n in wanted.shape if n != 1]:
        return value.reshape(wanted.shape)
    return value


def sizes_of(weights: Weights) -> dict[str, Any]:
    """The fields of ``modelrc`` that shapes tell, and the public values of those that they do not."""
    wavenet = "residual_layer.fc_t1.weight" in weights
    group, block = ("residual_layer.", "residual_layer.residual_blocks.0.") if wavenet else ("", "c_layers.0.")
    upsample = [name for name in sorted(weights) if name.startswith(f"{block}upsample_conv2d.") and name.endswith("_v")]
    common = {
        "diffusion_step_embed_dim_in": weights.size(f"{group}fc_t1.weight", 1),
        "diffusion_step_embed_dim_mid": weights.size(f"{group}fc_t1.weight"),
        "diffusion_step_embed_dim_out": weights.size(f"{group}fc_t2.weight"),
        "unconditional": not upsample,
    }
    if upsample:
        common["mel_upsample"] = [weights.size(name, -1) // 2 for name in upsample]
    return {**common, **(_wavenet(weights) if wavenet else _sashimi(weights, bool(upsample)))}


def _count(weights: Weights, prefix: str) -> int:
    return len({name[len(prefix) :].partition(".")[0] for name in weights if name.startswith(prefix)})


def _wavenet(weights: Weights) -> dict[str, Any]:
    """All published weights are of the code that changed its input in place; how often the dilations begin again goes with the depth."""
    layers = _count(weights, "residual_layer.residual_blocks.")
    return {
        "backbone": "wavenet",
        "res_channels": weights.size("init_conv.0.conv.weight_v"),
        "skip_channels": weights.size("final_conv.0.conv.weight_v"),
        "num_res_layers": layers,
        "dilation_cycle": 12 if layers % 12 == 0 else 10,
        "step_stays": True,
    }


def _sashimi(weights: Weights, conditional: bool) -> dict[str, Any]:
    width = weights.size("init_conv.0.conv.weight_v")
    places = [f"d_layers.{i}.linear.conv.weight_v" for i in range(_count(weights, "d_layers."))]
    down = [name for name in places if name in weights]
    widths = [width, *(weights.size(name) for name in down)]
    kernel = "c_layers.0.layer.layer.kernel."
    copies, channels = weights.size(f"{kernel}A_real"), weights.size(f"{kernel}C")
    output = weights.size("c_layers.0.layer.output_linear.0.weight")
    top = weights.get(f"u_layers.{_count(weights, 'u_layers.') - 1}.layer.layer.kernel.l_kernel")
    return {
        "backbone": "sashimi",
        "d_model": width,
        "n_layers": _count(weights, "c_layers."),
        "pool": [weights.size(name, 1) // narrow for name, narrow in zip(down, widths, strict=False)],
        "expand": widths[min(1, len(down))] // width,
        "ff": weights.size("c_layers.0.ff.ff.0.conv.weight_v") // widths[-1],
        "unet": "d_layers.0.linear.conv.weight_v" not in weights,
        "L": int(top) or None if top is not None and top.numel() == 1 else None,
        "bidirectional": channels == 2,
        "layer": {
            "mode": "dplr" if f"{kernel}P" in weights else "diag",
            "d_state": 2 * weights.size(f"{kernel}C", -2),
            "n_ssm": None if copies == widths[-1] else copies,
            "final_act": "glu" if output == 2 * widths[-1] else "id",
        },
        **({"mel_truncated": True} if conditional else {}),
    }
