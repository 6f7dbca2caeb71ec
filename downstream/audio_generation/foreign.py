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

from .architectures import Weights, backbone_of, sizes_of
from .denoising import foreign as diffwave
from .models.build import build
from .models.s4_names import is_old, renewed
from .settings import Settings

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
    content = _section(load_foreign(checkpoint))
    if isinstance(content.get(diffwave.KEY), Mapping):
        return diffwave.convert(checkpoint, content, config)
    weights = named(_section(content.get("state_dict", content)))
    old = is_old(weights)
    weights = Weights(renewed(weights), checkpoint)
    name = backbone_of(weights)
    if name is None:
        raise CheckpointError(f"{checkpoint} holds no network that -d audio_generation has: none of its weights has a name of theirs")
    made = load_config(config or FOLDER / f"{shipped(name, checkpoint)}.yaml")
    if config is None:
        expert, trained = made["downstream_expert"], _section(record_to_plain(content.get("hyper_parameters")))
        expert["modelrc"] = model_of(name, expert["modelrc"], _section(trained.get("model")), sizes_of(name, weights))
        expert["datarc"] |= {key: value for key, value in _section(trained.get("dataset")).items() if key in OF_DATA and value is not None}
        if old:
            expert["modelrc"]["layer"]["dt_transform"] = "exp"
        if expert.get("tbptt"):
            expert["tbptt"]["overlap_len"] = math.prod(expert["modelrc"]["frame_sizes"])
    settings = Settings.of(made.get("downstream_expert"))
    weights.check(build(settings.model, settings.quantiser.n_codes, quantization=settings.quantiser.kind).state_dict())
    state = {f"model.{key}": value for key, value in weights.items()}
    state |= {"best_score": tensor([float("inf")]), "_extra_state": {"carried": [None]}}
    step = content.get("global_step")
    return Foreign("waveform", None, made, state, step=step if isinstance(step, int) else 0)


def _section(value: Any) -> Mapping[Any, Any]:
    """What a checkpoint has under some name, where it is a section of fields."""
    return value if isinstance(value, Mapping) else {}


def named(weights: Mapping[Any, Any]) -> dict[str, Tensor]:
    """Weights by their names of today: ``encoder.weight`` and ``decoder.output_transform`` got a number; what is no weight goes."""
    newer = {"encoder.weight": "encoder.0.weight"}
    newer |= {f"decoder.output_transform.{end}": f"decoder.0.output_transform.{end}" for end in ("weight", "bias")}
    return {newer.get(name, name): value for name, value in weights.items() if str(name).startswith(PARTS) and isinstance(value, Tensor)}


def shipped(name: str, checkpoint: Path) -> str:
    """The shipped config of a backbone and of the corpus in a file's name."""
    alone = {"unet": "sashimi-sc09-unet", "sashimi_standalone": "sashimi-standalone"}
    return alone.get(name) or f"{name}-{next((corpus for corpus in CORPORA if corpus in checkpoint.name), 'sc09')}"


def model_of(name: str, ours: Mapping[str, Any], trained: Mapping[str, Any], sizes: Mapping[str, Any]) -> dict[str, Any]:
    """``modelrc``: the shipped fields, those of the training over them, the sizes of the weights over both."""
    known = {key: value for key, value in trained.items() if key != "layer"}
    merged = {**ours, **known, **{key: value for key, value in sizes.items() if key != "layer"}, "_name_": name}
    layer = {key: value for key, value in _section(trained.get("layer")).items() if key not in IDLE or value != IDLE[key]}
    if "layer" in ours:
        merged["layer"] = {**ours["layer"], **layer, **sizes.get("layer", {})}
    return merged
