"""Checkpoints of SaShiMi's public program for ``utility/import_checkpoint.py``: bare weights (``.pt``) and Lightning's (``.ckpt``)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, tensor

from downstream.blocks.foreign import Foreign
from utility.errors import CheckpointError
from utility.experiment.config import load_config
from utility.experiment.rebuild import record_to_plain
from utility.experiment.unpickle import load_foreign

from .architectures import backbone_of, sizes_of
from .denoising import foreign as diffwave
from .models.build import build
from .models.code_model import N_CODES
from .models.s4_names import is_old, renewed

FOLDER = Path(__file__).resolve().parent
PARTS = ("encoder.", "model.", "decoder.")
CORPORA = ("youtubemix", "beethoven", "sc09")
# fields of the public layer config that decide nothing here, with what they say then
IDLE = {
    "bottleneck": None,
    "deterministic": False,
    "drop_kernel": 0.0,
    "gate": None,
    "gate_act": "id",
    "initializer": None,
    "layer": "fftconv",
    "measure": None,
    "postact": None,
    "tie_dropout": None,
    "verbose": True,
    "weight_norm": False,
}
OF_DATA = ("sample_len", "quantization", "bits", "train_percentage", "drop_last")


def convert(checkpoint: Path, config: Path | None = None, upstream: Path | None = None) -> Foreign:
    """Reads a checkpoint.

    Args:
        checkpoint: ``<model>_<corpus>.pt``, a ``.ckpt`` of a training, or ``<iteration>.pkl`` of DiffWave.
        config: one of ours; by default the shipped one of this kind of network and of the corpus in the file's name, with the sizes of
            the weights and, of a ``.ckpt``, the settings that it was trained with.
        upstream: not used.

    Raises:
        CheckpointError: unreadable, or not of such a network. ConfigError: the config does not fit.
    """
    content = load_foreign(checkpoint)
    content = content if isinstance(content, Mapping) else {}
    if isinstance(content.get(diffwave.KEY), Mapping):
        return diffwave.convert(checkpoint, content, config)
    weights = named({name: value for name, value in content.get("state_dict", content).items() if isinstance(value, Tensor)})
    old = is_old(weights)
    weights = renewed(weights)
    name = backbone_of(weights)
    if name is None:
        raise CheckpointError(f"{checkpoint} holds no network that -d audio_generation has: none of its weights has a name of theirs")
    made = load_config(config or FOLDER / f"{shipped(name, checkpoint)}.yaml")
    if config is None:
        expert = made["downstream_expert"]
        trained = record_to_plain(content.get("hyper_parameters"))
        settings = trained if isinstance(trained, Mapping) else {}
        expert["modelrc"] = model_of(name, expert["modelrc"], settings.get("model") or {}, sizes_of(name, weights))
        expert["datarc"] |= {key: value for key, value in (settings.get("dataset") or {}).items() if key in OF_DATA and value is not None}
        if old:
            expert["modelrc"]["layer"]["dt_transform"] = "exp"
        if expert.get("tbptt"):
            expert["tbptt"]["overlap_len"] = math.prod(expert["modelrc"]["frame_sizes"])
    _check(made["downstream_expert"]["modelrc"], weights, checkpoint)
    state = {f"model.{key}": value for key, value in weights.items()}
    state |= {"best_score": tensor([float("inf")]), "_extra_state": {"carried": [None]}}
    return Foreign("waveform", None, made, state, step=int(content.get("global_step") or 0))


def named(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights by their names of today: ``encoder.weight`` and ``decoder.output_transform`` got a number; what is no weight goes."""
    newer = {"encoder.weight": "encoder.0.weight"}
    newer |= {f"decoder.output_transform.{end}": f"decoder.0.output_transform.{end}" for end in ("weight", "bias")}
    return {newer.get(name, name): value for name, value in weights.items() if name.startswith(PARTS)}


def shipped(name: str, checkpoint: Path) -> str:
    """The shipped config of a backbone and of the corpus in a file's name."""
    alone = {"unet": "sashimi-sc09-unet", "sashimi_standalone": "sashimi-standalone"}
    return alone.get(name) or f"{name}-{next((corpus for corpus in CORPORA if corpus in checkpoint.name), 'sc09')}"


def model_of(name: str, ours: Mapping[str, Any], trained: Mapping[str, Any], sizes: Mapping[str, Any]) -> dict[str, Any]:
    """``modelrc``: the shipped fields, those of the training over them, the sizes of the weights over both."""
    known = {key: value for key, value in trained.items() if key != "layer"}
    merged = {**ours, **known, **{key: value for key, value in sizes.items() if key != "layer"}, "_name_": name}
    layer = {key: value for key, value in (trained.get("layer") or {}).items() if key not in IDLE or value != IDLE[key]}
    if "layer" in ours:
        merged["layer"] = {**ours["layer"], **layer, **sizes.get("layer", {})}
    return merged


def _check(model: Mapping[str, Any], weights: Mapping[str, Tensor], checkpoint: Path) -> None:
    wanted = {name: value.shape for name, value in build(model, N_CODES).state_dict().items()}
    found = {name: value.shape for name, value in weights.items()}
    if wanted != found:
        wrong = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        there, here = (str(tuple(side[wrong[0]])) if wrong[0] in side else "nothing" for side in (found, wanted))
        raise CheckpointError(
            f"{checkpoint} has {there} for {wrong[0]}, where the config has {here} ({len(wrong)} weights differ); --config takes another"
        )
