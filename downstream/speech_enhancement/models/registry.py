"""The networks by the names that ``model.model_type`` has for them."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from utility.errors import CheckpointError, ConfigError
from utility.experiment.plugins import load_class
from utility.training.fields import check_fields, check_name, check_options, keywords_of

from .band_gru import BandGRU
from .lstm import ConvLSTMDenoiser, LSTMDenoiser
from .tcnn import STFTTCNN

CUSTOM = "Custom"
MODELS: dict[str, type[nn.Module]] = {model.__name__: model for model in (STFTTCNN, ConvLSTMDenoiser, LSTMDenoiser, BandGRU)}
_CHANNELS = ("in_channels", "out_channels")


def build_model(name: Any, options: Mapping[str, Any], bins: int, file: str | Path | None = None, source: str = "config") -> nn.Module:
    """A network (B, F, T) -> (B, F, T).

    Args:
        name: of :data:`MODELS`, or ``Custom``, a class of this name in ``file``.
        options: its keywords; numbers of channels are F where they are not given.
        bins: F.
        file: Python code of the user, from the command line.
        source: how errors call the config's section.

    Raises:
        ConfigError: options that the network does not take, or channels that are not F.
        UnknownNameError: no such network.
        UsageError: ``Custom`` without a file, or a file without ``Custom``.
    """
    check_name(f"{source}.model.model_type", name, (*MODELS, CUSTOM))
    model = load_class(file, CUSTOM, "--model_file", nn.Module) if name == CUSTOM else MODELS[name]
    source = f"{source}.model_specific ({name})"
    check_fields(options, keywords_of(model), source=source)
    check_options(model, options, source=source)
    channels = {field: bins for field in _CHANNELS if field in keywords_of(model)}
    wrong = [f"{field} is {options[field]}, but n_fft gives {bins} bins" for field in channels if options.get(field, bins) != bins]
    if wrong:
        raise ConfigError(wrong, source)
    return model(**channels, **{field: value for field, value in options.items() if field not in channels})


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Gives a network the weights of a plain state dict, as ``state_dict_path`` names it; nothing in the file is executed.

    Raises:
        CheckpointError: it is missing, unreadable, or of another network.
    """
    if not Path(path).is_file():
        raise CheckpointError(f"model.state_dict_path: there is no file {path}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise CheckpointError(f"model.state_dict_path: {path} is no state dict of torch") from error
    if not isinstance(state, Mapping):
        raise CheckpointError(f"model.state_dict_path: {path} holds a {type(state).__name__}, not a state dict")
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        first = next((line.strip() for line in str(error).splitlines()[1:]), str(error))
        raise CheckpointError(f"model.state_dict_path: {path} does not fit {type(model).__name__}: {first}") from error
