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


def check_counts(given: Mapping[str, Any], least: Mapping[str, int], *, source: str) -> None:
    """Refuses a field that should be a whole number and is none, or is too small; fields that are absent pass.

    Args:
        given: the fields of the config section.
        least: the smallest value of each.
        source: as in :func:`check_fields`.

    Raises:
        ConfigError: there is at least one fault.
    """
    faults = [
        f"{name} must be a whole number of at least {smallest}, not {given[name]!r}"
        for name, smallest in least.items()
        if name in given and (type(given[name]) is not int or given[name] < smallest)
    ]
    if faults:
        raise ConfigError(faults, source)


def check_sections(given: Mapping[str, Any], names: Iterable[str], *, source: str) -> None:
    """Refuses a field of ``names`` that is no section of fields; fields that are absent pass.

    Raises:
        ConfigError: there is at least one fault.
    """
    faults = [f"{name} is {given[name]!r}, not a section of fields" for name in names if not isinstance(given.get(name, {}), Mapping)]
    if faults:
        raise ConfigError(faults, source)


def check_flags(given: Mapping[str, Any], names: Iterable[str], *, source: str) -> None:
    """Refuses a field of ``names`` that is neither true nor false; fields that are absent pass.

    Raises:
        ConfigError: there is at least one fault.
    """
    faults = [f"{name} must be True or False, not {given[name]!r}" for name in names if not isinstance(given.get(name, False), bool)]
    if faults:
        raise ConfigError(faults, source)


def check_numbers(function: Callable, given: Mapping[str, Any], *, source: str) -> None:
    """Refuses a field that is no number where ``function`` has a number by default, or not as many numbers as there are by default.

    Args:
        function: what the fields will be handed to.
        given: the fields, as :func:`plain` makes them.
        source: as in :func:`check_fields`.

    Raises:
        ConfigError: there is at least one fault.
    """
    defaults = {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}
    faults = []
    for name, value in given.items():
        default = defaults.get(name)
        if type(default) in (int, float) and not isinstance(value, int | float):
            faults.append(f"{name} must be a number, not {value!r}")
        elif isinstance(default, tuple) and not _are_numbers(value, len(default)):
            faults.append(f"{name} must be {len(default)} numbers, not {value!r}")
    if faults:
        raise ConfigError(faults, source)


def _are_numbers(value: Any, count: int) -> bool:
    return isinstance(value, tuple) and len(value) == count and all(isinstance(item, int | float) for item in value)


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
