"""Makes a :class:`CodeModel` of the section ``modelrc``; the fields are those of the official configs."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from utility.errors import ConfigError
from utility.training.fields import check_name

from ..quantise import Quantiser
from .code_model import N_CODES, CodeModel

SOURCE = "config.downstream_expert.modelrc"
# name -> the module of this folder whose ``backbone_of(name, fields, source)`` makes it; imported when it is asked for
BACKBONES = {
    "sashimi": "backbone",
    "unet": "backbone",
    "sashimi_standalone": "sashimi",
    "samplernn": "samplernn",
    "wavenet": "wavenet",
}
ELSEWHERE = "diffwave"  # predicts no codes, and is made by :mod:`.diffwave`


def build(config: Mapping[str, Any], n_codes: int = N_CODES, source: str = SOURCE) -> CodeModel:
    """The model of a config.

    Args:
        config: ``_name_`` and the fields of this backbone.
        n_codes: how many codes the data has.
        source: what errors call the section.

    Raises:
        ConfigError: fields that do not exist, are missing, or have impossible values; all of them are named.
        UnknownNameError: no backbone has this name.
    """
    if not isinstance(config, Mapping):
        raise ConfigError(f"{config!r} is not a section of fields", source)
    if "_name_" not in config:
        raise ConfigError(f"field '_name_' is missing; valid: {', '.join([*BACKBONES, ELSEWHERE])}", source)
    name = config["_name_"]
    check_name(f"model in {source}._name_", name, [*BACKBONES, ELSEWHERE])
    module = import_module(f".{BACKBONES[name]}", __package__)
    backbone = module.backbone_of(name, {field: value for field, value in config.items() if field != "_name_"}, source)
    if (own := getattr(backbone, "n_codes", n_codes)) != n_codes:
        raise ConfigError(f"bits must be those of datarc: the recordings have {n_codes} codes, the network {own}", source)
    return CodeModel(backbone, n_codes)


def predictor(config: Mapping[str, Any], quantiser: Quantiser, source: str = SOURCE) -> CodeModel:
    """:func:`build` for the codes of these recordings, of a network that predicts each from those before it alone.

    Raises:
        ConfigError, UnknownNameError: as :func:`build`; the network looks ahead, or takes the codes for those of another quantisation.
    """
    model = build(config, quantiser.n_codes, source)
    if any(getattr(part, "bidirectional", False) for part in model.modules()):
        raise ConfigError("bidirectional is true: a network that predicts each code from those before it cannot look ahead", source)
    if (own := getattr(model.model, "quantization", quantiser.kind)) != quantiser.kind:
        raise ConfigError(f"quantization must be that of datarc, {quantiser.kind}, not {own}", source)
    return model
