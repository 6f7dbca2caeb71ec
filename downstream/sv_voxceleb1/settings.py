"""Checks of the task's section of a config."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from downstream.blocks.corpus_task import SOURCE
from downstream.blocks.speaker_losses import LOSSES
from downstream.blocks.xvector import FRAME_MODULES
from utility.errors import ConfigError
from utility.training.fields import (
    check_counts,
    check_fields,
    check_flags,
    check_name,
    check_options,
    check_sections,
    check_texts,
    keywords_of,
)

log = logging.getLogger(__name__)

LISTS = {"dev": "dev_meta_data", "test": "test_meta_data"}
_BATCHES = ("train_batch_size", "eval_batch_size")
_DATA = ("file_path", "vad_config", "max_timestep", "num_workers", "train_meta_data", "hold_out_dev", *_BATCHES, *LISTS.values())
_MODEL = ("module", "input_dim", "agg_module", "utter_module", "module_config", "ObjectiveLoss", "LossConfig", "published")
_LEAST_SAMPLES = 32000


def checked_threshold(value: Any) -> float | None:
    """The cosine from which on two recordings count as one speaker's, if the config has one.

    Raises:
        ConfigError: it is no cosine.
    """
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float)) or not -1 <= value <= 1):
        raise ConfigError(f"threshold is {value!r} and should be a cosine from -1 to 1, or empty", source=SOURCE)
    return value


def checked_model(modelrc: Mapping[str, Any]) -> Mapping[str, Any]:
    """The section ``modelrc``, as it is.

    Raises:
        ConfigError: fields that there are not, that are missing or of another kind.
        UnknownNameError: no such frame module or loss.
    """
    source = f"{SOURCE}.modelrc"
    check_fields(modelrc, _MODEL, ("module", "input_dim", "agg_module", "utter_module", "ObjectiveLoss"), source=source)
    check_counts(modelrc, {"input_dim": 1}, source=source)
    check_flags(modelrc, ("published",), source=source)
    check_sections(modelrc, ("module_config", "LossConfig"), source=source)
    for kind, known, section in (("module", FRAME_MODULES, "module_config"), ("ObjectiveLoss", LOSSES, "LossConfig")):
        name = modelrc[kind]
        check_name(f"{source}.{kind}", name, known)
        options, where = modelrc.get(section, {}).get(name) or {}, f"{source}.{section}.{name}"
        check_fields(options, keywords_of(known[name], besides=("input_dim", "hidden_dim", "speaker_num")), source=where)
        check_options(known[name], options, source=where)
    return modelrc


def checked_data(datarc: Mapping[str, Any], shortest: int) -> dict[str, Any]:
    """The section ``datarc`` without empty fields, ``min_sec`` being among the others.

    Args:
        datarc: the section.
        shortest: samples that the network needs.

    Raises:
        ConfigError: fields that there are not, that are missing, or values that make no sense.
    """
    source = f"{SOURCE}.datarc"
    check_fields(datarc, _DATA, source=source)
    check_sections(datarc, ("vad_config",), source=source)
    check_fields(datarc.get("vad_config", {}), ("min_sec",), source=f"{source}.vad_config")
    check_flags(datarc, ("hold_out_dev",), source=source)
    check_texts(datarc, ("file_path", *LISTS.values()), source=source)
    given = {name: value for name, value in datarc.items() if value is not None}
    check_fields(given, _DATA, _BATCHES, source=source)
    given["min_sec"] = given.pop("vad_config", {}).get("min_sec", _LEAST_SAMPLES)
    check_counts(given, {**dict.fromkeys(_BATCHES, 1), "num_workers": 0, "max_timestep": shortest, "min_sec": shortest}, source=source)
    if given.get("train_meta_data"):
        log.warning("%s.train_meta_data is not used, as in S3PRL; hold_out_dev: True keeps the speakers of the dev trials apart", source)
    return given
