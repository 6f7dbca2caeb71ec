"""Settings that lie in a checkpoint: nested sections by their path, and dataclasses filled from them with every fault said at once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar

from utility.errors import CheckpointError, ConfigError, did_you_mean

Settings = TypeVar("Settings")


def nested(content: Mapping[Any, Any], source: Any, *path: str) -> dict[str, Any]:
    """The mapping at a path of keys, itself with texts as keys.

    Args:
        content: what a checkpoint holds.
        source: the file, for the sentence.
        path: the keys from the outside in.

    Raises:
        CheckpointError: a key is missing, or its value is no mapping.
    """
    found: Any = content
    for depth, key in enumerate(path, 1):
        found = found.get(key)
        if not isinstance(found, Mapping):
            fault = "no" if found is None else f"a {type(found).__name__} as"
            raise CheckpointError(f"{source} is no checkpoint of this upstream: it has {fault} section {'.'.join(path[:depth])!r}")
    return {str(key): value for key, value in found.items()}


def filled(kind: type[Settings], given: Mapping[str, Any], source: str) -> Settings:
    """A dataclass of numbers, flags and texts from the fields that a mapping has; others keep their defaults, unknown ones are left alone.

    A whole number fits a field of type ``float``; fields of other types are passed as they are. A method ``faults()`` of the dataclass,
    a list of sentences, is asked as well.

    Raises:
        ConfigError: a field without default is missing, has the wrong type or an impossible value; all faults at once.
    """
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    missing = [name for name, f in known.items() if f.default is MISSING and f.default_factory is MISSING and name not in given]
    faults = [f"the field {name} is missing" for name in missing]
    faults += [fault for name, f in known.items() if name in given and (fault := _type_fault(name, str(f.type), given[name]))]
    if not faults:
        made = kind(**{name: given[name] for name in known if name in given})
        faults = made.faults() if hasattr(made, "faults") else []
        if not faults:
            return made
    raise ConfigError(faults, source)


def names_of(kind: type) -> list[str]:
    """The names of the fields of a dataclass."""
    return [f.name for f in fields(kind)]


def not_positive(settings: Any, names: Iterable[str]) -> list[str]:
    """A fault for each of these fields that is not above 0."""
    return [f"{name} must be positive, not {getattr(settings, name)!r}" for name in names if not getattr(settings, name) > 0]


def not_a_share(settings: Any, names: Iterable[str]) -> list[str]:
    """A fault for each of these fields that is not in 0 ... 1, 1 excluded, such as a dropout."""
    return [
        f"{name} must be 0 or more and below 1, not {getattr(settings, name)!r}" for name in names if not 0 <= getattr(settings, name) < 1
    ]


def not_among(settings: Any, name: str, valid: Iterable[str]) -> list[str]:
    """A fault if the field is none of the valid names."""
    value, valid = getattr(settings, name), list(valid)
    return [] if value in valid else [f"unknown {name} {value!r}{did_you_mean(str(value), valid)}"]


def _type_fault(name: str, kind: str, value: Any) -> str | None:
    fits = {
        "int": lambda: type(value) is int,
        "float": lambda: type(value) in (int, float) and math.isfinite(value),
        "bool": lambda: type(value) is bool,
        "str": lambda: type(value) is str,
    }.get(kind, lambda: True)
    return None if fits() else f"{name} must be of type {kind}, not {value!r}"
