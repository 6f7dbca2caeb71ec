"""Checks that the builders of optimizers, schedulers and SpecAug share: a config field is honoured or refused, never swallowed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from utility.errors import ConfigError, did_you_mean


def keywords_of(function: Callable, *, besides: Iterable[str] = ()) -> set[str]:
    """The names that ``function`` takes as keywords, without those in ``besides``."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {name for name, parameter in inspect.signature(function).parameters.items() if parameter.kind in named} - set(besides)


def check_fields(given: Mapping[str, Any], valid: Iterable[str], required: Iterable[str] = (), *, source: str) -> None:
    """Refuses unknown and missing fields, all in one sentence.

    Args:
        given: the fields of the config section.
        valid: the names that are understood.
        required: those of them that have no default.
        source: the section (and class) that the sentence names.

    Raises:
        ConfigError: there is at least one fault.
    """
    if not isinstance(given, Mapping):
        raise ConfigError(f"{given!r} is not a section of fields", source)
    valid = sorted(valid)
    faults = [f"unknown field {name!r}{did_you_mean(str(name), valid)}" for name in given if name not in valid]
    faults += [f"field {name!r} is missing" for name in required if name not in given]
    if faults:
        raise ConfigError(faults, source)


def plain(value: Any) -> Any:
    """A yaml value as Python's libraries want it: lists become tuples, and ``1e-4``, which yaml reads as text, a number."""
    if isinstance(value, list | tuple):
        return tuple(plain(item) for item in value)
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value
