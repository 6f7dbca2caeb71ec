"""Reads ``user_config.yaml``: misprints, aliases, ``${...}`` and sums in texts; every fault is said at once.

The zoo evaluates texts as Python code. Here a text that spells a number or a sum of numbers (``1./255``) is that number, ``None`` and an
empty text are an empty field, and nothing else is done with it. ``${NAME}`` is the environment variable, ``${oc.env:NAME,default}`` as
well, ``${section.field}`` a value of the file, and ``${now:%Y_%m_%d}`` the time of the start.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from utility.errors import ConfigError
from utility.experiment.config import load_config
from utility.experiment.literal import parse_literal
from utility.experiment.override import apply_override, options_of, parse_override

from .fields import FIELDS, at, faults_of

RUN_DIR = "./experiment_outputs/${now:%Y_%m_%d_%H_%M_%S}"
_MISPRINT = "general:general"  # of the training tutorial
_REFERENCE = re.compile(r"\$\{([^{}]*)\}")
_DEEPEST = 10  # references that lead to references


@dataclass
class UserConfig:
    """The file as it is meant.

    Args:
        config: its sections; empty fields are None.
        overrides: the options of ``-o`` that changed it.
        left: the other options of ``-o``.
        warnings: sentences.
    """

    config: dict[str, Any]
    overrides: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def is_foreign(config: Mapping[str, Any]) -> bool:
    """Whether a config is the zoo's and not one of ours."""
    names = {str(name).partition(":")[0] for name in config}
    return "downstream_expert" not in config and ("operation_mode" in names or len(names & FIELDS.keys()) > 1)


def read(source: str, override: str | None, now: float) -> UserConfig:
    """Reads the file.

    Args:
        source: its path.
        override: the text of ``-o``: ``config.training.epochs=3`` changes the file's fields, the rest is left for the stages.
        now: seconds since 1970.

    Raises:
        ConfigError: unknown sections and fields, references to nothing and values of a wrong type, all in one sentence.
    """
    found = UserConfig(load_config(source))
    _mend(found, source)
    _override(found, override)
    faults: list[str] = []
    resolve = _resolver(found.config, now, faults)
    found.config = {name: _walked(value, name, resolve) for name, value in found.config.items()}
    faults += faults_of(found.config)
    if faults:
        raise ConfigError(faults, source)
    return found


def _mend(found: UserConfig, source: str) -> None:
    """Misprints, other names of sections, and the folder where none is named."""
    config = found.config
    if _MISPRINT in config and "general" not in config:
        config["general"] = config.pop(_MISPRINT)
        found.warnings.append(f"{source}: the section '{_MISPRINT}:' is read as 'general:'")
    for alias in ("stedgeai", "stm32ai"):
        if isinstance(config.get("tools"), dict) and alias == "stm32ai" and alias in config["tools"]:
            config["tools"].setdefault("stedgeai", config["tools"].pop(alias))
        if alias in config:
            config["tools"] = {"stedgeai": config.pop(alias), **(config.get("tools") or {})}
    training = config.get("training")
    if isinstance(training, dict) and "onnx_version" in training:
        other = training.pop("onnx_version")
        training["opset_version"] = other if training.get("opset_version") is None else training["opset_version"]
    if at(config, "hydra.run.dir") is None and isinstance(config.setdefault("hydra", None) or {}, dict):
        config["hydra"] = {**(config["hydra"] or {}), "run": {"dir": RUN_DIR}}


def _override(found: UserConfig, override: str | None) -> None:
    for text in options_of(override):
        option = parse_override(text)[0]
        if option.root == "config" and option.fields[0] in FIELDS:
            apply_override([option], {}, found.config, found.warnings.append)
            found.overrides.append(f"{'.'.join(option.fields)}={option.value}")
        else:
            found.left.append(text)


def _walked(value: Any, place: str, resolve: Callable[[str, str], Any]) -> Any:
    """The value with every text in it resolved, in lists too."""
    if isinstance(value, dict):
        return {name: _walked(inside, f"{place}.{name}", resolve) for name, inside in value.items()}
    if isinstance(value, list):
        return [_walked(inside, f"{place}[{index}]", resolve) for index, inside in enumerate(value)]
    return resolve(value, place) if isinstance(value, str) else value


def _resolver(config: Mapping[str, Any], now: float, faults: list[str]) -> Callable[[str, str], Any]:
    """A function (text, place) -> value; what it cannot resolve goes to ``faults``."""

    def resolve(text: str, place: str, depth: int = 0) -> Any:
        if depth > _DEEPEST:
            faults.append(f"{place} is {text!r}, which refers to itself")
            return None
        whole = _REFERENCE.fullmatch(text)
        if whole:
            found = referred(whole[1], place)
            return resolve(found, place, depth + 1) if isinstance(found, str) and _REFERENCE.search(found) else _literal(found)
        if _REFERENCE.search(text):
            return resolve(_REFERENCE.sub(lambda match: str(referred(match[1], place)), text), place, depth + 1)
        return _literal(text)

    def referred(reference: str, place: str) -> Any:
        kind, colon, rest = reference.partition(":")
        if kind == "now" and colon:
            return time.strftime(rest, time.localtime(now))
        name, comma, default = (rest if kind == "oc.env" else reference).partition(",")
        if name in os.environ:
            return os.environ[name]
        if kind == "oc.env" and comma:
            return default
        if (value := at(config, reference)) is not None:
            return value
        what = "the environment variable" if name.isidentifier() or kind == "oc.env" else "the field"
        faults.append(f"{place} refers to {what} {name}, which is not set")
        return ""

    return resolve


def _literal(value: Any) -> Any:
    """A text that spells a number, a flag or a list of them is that; ``None`` and an empty text are an empty field."""
    if not isinstance(value, str):
        return value
    if value.strip() in ("", "None"):
        return None
    parsed = value if "_" in value else parse_literal(value)  # 2025_03_01 is a folder
    return parsed if isinstance(parsed, (bool, int, float, list)) else value
