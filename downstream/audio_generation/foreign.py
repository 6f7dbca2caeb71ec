"""Checkpoints of SaShiMi's public program for ``utility/import_checkpoint.py``: bare weights (``.pt``) and Lightning's (``.ckpt``)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, tensor

from downstream.blocks.foreign import Foreign
from utility.errors import CheckpointError, ConfigError
from utility.experiment.rebuild import record_to_plain
from utility.experiment.unpickle import load_foreign

from .architectures import MARKS, backbone_of, check_same, config_of, sizes_of, telling_of, weights_in
from .denoising import foreign as diffwave
from .models.build import ELSEWHERE, predictor
from .models.code_model import CodeModel
from .models.s4_names import is_old, renewed
from .settings import SOURCE, Settings

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
        CheckpointError: unreadable, or not of such a network, or with settings that it cannot have.
        ConfigError: the config that was given does not fit.
    """
    content = load_foreign(checkpoint)
    content = content if isinstance(content, Mapping) else {}
    if isinstance(content.get(diffwave.KEY), Mapping):
        return diffwave.convert(checkpoint, content, config)
    with telling_of(checkpoint):
        given = weights_in(named(content.get("state_dict", content)))
        weights, step = renewed(given), _step(content)
    name = backbone_of(weights)
    if name is None:
        raise CheckpointError(
            f"{checkpoint} holds no network that -d audio_generation has: none of its weights is {' or '.join(MARKS.values())}"
        )
    made = config_of(config or FOLDER / f"{shipped(name, checkpoint)}.yaml")
    with telling_of(checkpoint if config is None else None):
        if config is None:
            _take_over(made["downstream_expert"], name, content, weights)
            if is_old(given) and "layer" in made["downstream_expert"]["modelrc"]:
                made["downstream_expert"]["modelrc"]["layer"]["dt_transform"] = "exp"
        network = _network(made["downstream_expert"])
    check_same(checkpoint, weights, network.state_dict())
    state = {f"model.{key}": value for key, value in weights.items()}
    state |= {"best_score": tensor([float("inf")]), "_extra_state": {"carried": [None]}}
    return Foreign("waveform", None, made, state, step=step)


def _take_over(expert: dict[str, Any], name: str, content: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
    """Sizes and the settings of the training into a shipped config."""
    trained = record_to_plain(content.get("hyper_parameters"))
    settings = section(trained, "hyper_parameters") if isinstance(trained, Mapping) else {}
    model, data = (section(settings.get(part), f"hyper_parameters.{part}") for part in ("model", "dataset"))
    expert["modelrc"] = model_of(name, expert["modelrc"], model, sizes_of(name, weights))
    expert["datarc"] |= {key: value for key, value in data.items() if key in OF_DATA and value is not None}
    if expert.get("tbptt"):
        expert["tbptt"]["overlap_len"] = math.prod(expert["modelrc"]["frame_sizes"])


def section(value: Any, name: str) -> Mapping[str, Any]:
    """A section of the settings in a checkpoint, empty where it is missing.

    Raises:
        CheckpointError: it is something else, or holds what is no setting.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise CheckpointError(f"{name} is {value!r}, not a section of fields")
    for key, field in value.items():
        if not isinstance(key, str):
            raise CheckpointError(f"{name} has a field {key!r}, which is no name")
        if not isinstance(field, (str, int, float, list, tuple, Mapping, type(None))):
            raise CheckpointError(f"{name}.{key} is of type {type(field).__name__}, no setting")
    return value


def _step(content: Mapping[str, Any]) -> int:
    step = content.get("global_step") or 0
    if type(step) is not int or step < 0:
        raise CheckpointError(f"global_step is {step!r}, no number of updates")
    return step


def named(weights: Any) -> dict[str, Any]:
    """Weights by their names of today: ``encoder.weight`` and ``decoder.output_transform`` got a number; what is no weight goes.

    Raises:
        CheckpointError: this is no table of weights.
    """
    if not isinstance(weights, Mapping):
        raise CheckpointError(f"state_dict is of type {type(weights).__name__}, no table of weights")
    newer = {"encoder.weight": "encoder.0.weight"}
    newer |= {f"decoder.output_transform.{end}": f"decoder.0.output_transform.{end}" for end in ("weight", "bias")}
    return {newer.get(name, name): value for name, value in weights.items() if str(name).startswith(PARTS)}


def shipped(name: str, checkpoint: Path) -> str:
    """The shipped config of a backbone and of the corpus in a file's name."""
    alone = {"unet": "sashimi-sc09-unet", "sashimi_standalone": "sashimi-standalone"}
    return alone.get(name) or f"{name}-{next((corpus for corpus in CORPORA if corpus in checkpoint.name), 'sc09')}"


def model_of(name: str, ours: Mapping[str, Any], trained: Mapping[str, Any], sizes: Mapping[str, Any]) -> dict[str, Any]:
    """``modelrc``: the shipped fields, those of the training over them, the sizes of the weights over both."""
    known = {key: value for key, value in trained.items() if key != "layer"}
    merged = {**ours, **known, **{key: value for key, value in sizes.items() if key != "layer"}, "_name_": name}
    layers = section(trained.get("layer"), "hyper_parameters.model.layer")
    layer = {key: value for key, value in layers.items() if key not in IDLE or value != IDLE[key]}
    if "layer" in ours:
        merged["layer"] = {**ours["layer"], **layer, **sizes.get("layer", {})}
    return merged


def _network(expert: Mapping[str, Any]) -> CodeModel:
    """The network of a config, for as many codes as its data has."""
    settings = Settings.of(expert)
    if settings.model.get("_name_") == ELSEWHERE:
        raise ConfigError(f"the checkpoint's network predicts codes, and {ELSEWHERE} does not", f"{SOURCE}.modelrc")
    return predictor(settings.model, settings.quantiser)
