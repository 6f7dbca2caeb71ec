"""Checks that the builders of optimizers, schedulers and SpecAug share: a config field is honoured or refused, never swallowed."""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from os import PathLike
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from utility.errors import ConfigError, UnknownNameError, did_you_mean

Made = TypeVar("Made")


@dataclass(frozen=True)
class Limits:
    """How small and how large a number may be; for ``Annotated`` types of arguments that :func:`check_options` looks at.

    Args:
        least, most: the limits, which are allowed themselves; None for no limit.
    """

    least: float | None = None
    most: float | None = None

    def __contains__(self, number: float) -> bool:
        return (self.least is None or number >= self.least) and (self.most is None or number <= self.most)

    def __str__(self) -> str:
        if self.most is None:
            return f"of at least {self.least}"
        return f"of at most {self.most}" if self.least is None else f"from {self.least} to {self.most}"


Count = Annotated[int, Limits(least=1)]
CountFromZero = Annotated[int, Limits(least=0)]
NotNegative = Annotated[float, Limits(least=0)]
Part = Annotated[float, Limits(least=0, most=1)]
_PLAIN = {int: "a whole number", float: "a number", bool: "True or False", str: "a text"}


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


def check_sections(
    given: Mapping[str, Any], names: Iterable[str], required: Iterable[str] = (), *, source: str, null: Iterable[str] = ()
) -> None:
    """Refuses a field of ``names`` that is no section of fields; fields that are absent pass, unless they are ``required``.

    Those in ``null`` may also be null, which is what yaml makes of a section whose lines are all comments.

    Raises:
        ConfigError: there is at least one fault.
    """
    if not isinstance(given, Mapping):
        raise ConfigError(f"{given!r} is not a section of fields", source)
    faults = [f"field {name!r} is missing" for name in required if name not in given]
    found = {name: given.get(name, {}) for name in names if name not in null or given.get(name) is not None}
    faults += [f"{name} is {value!r}, not a section of fields" for name, value in found.items() if not isinstance(value, Mapping)]
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


def check_texts(given: Mapping[str, Any], names: Iterable[str], *, source: str) -> None:
    """Refuses a field of ``names`` that is no text (such as a path); fields that are absent or null pass.

    Raises:
        ConfigError: there is at least one fault.
    """
    faults = [
        f"{name} must be a text, not {given[name]!r}"
        for name in names
        if given.get(name) is not None and not isinstance(given[name], str | PathLike)
    ]
    if faults:
        raise ConfigError(faults, source)


def check_name(kind: str, name: Any, valid: Collection[str]) -> None:
    """Refuses what is none of the ``valid`` names; a list or a section, which yaml may hold where a name belongs, is none.

    Raises:
        UnknownNameError: as its sentence calls it, it is no ``kind``.
    """
    if not isinstance(name, str) or name not in valid:
        raise UnknownNameError(kind, str(name), valid)


def check_lists(given: Mapping[str, Any], names: Iterable[str], *, source: str, alone: bool = False) -> None:
    """Refuses a field of ``names`` that is no list of texts; fields that are absent or null pass.

    Args:
        given: the fields of the config section.
        names: those to look at.
        source: as in :func:`check_fields`.
        alone: one text that is in no list will do.

    Raises:
        ConfigError: there is at least one fault.
    """
    faults = []
    for name in names:
        value = given.get(name)
        listed = [value] if alone and isinstance(value, str | PathLike) else value
        if value is None or (isinstance(listed, list | tuple) and all(isinstance(item, str | PathLike) for item in listed)):
            continue
        example = f", such as [{value}]" if isinstance(value, str) else ""
        faults.append(f"{name} must be {'a text or ' if alone else ''}a list of texts{example}, not {value!r}")
    if faults:
        raise ConfigError(faults, source)


def check_options(function: Callable, given: Mapping[str, Any], *, source: str) -> None:
    """Refuses a field whose value is not of the type that ``function`` has for it, or not within the :class:`Limits` of this type.

    Args:
        function: what the fields will be handed to, a class or a function, possibly a ``partial`` one. Looked at are whole numbers,
            numbers, texts, flags, mappings, and lists of them; other types pass.
        given: the fields; those that ``function`` does not have are left to :func:`check_fields`.
        source: as in :func:`check_fields`.

    Raises:
        ConfigError: there is at least one fault.
    """
    function = function.func if isinstance(function, partial) else function
    wanted = get_type_hints(function.__init__ if inspect.isclass(function) else function, include_extras=True)
    faults = [
        f"{name} must be {_words(wanted[name])}, not {value!r}"
        for name, value in given.items()
        if name in wanted and not _fits(value, wanted[name])
    ]
    if faults:
        raise ConfigError(faults, source)


def made_of(kind: Callable[..., Made], given: Mapping[str, Any], required: Iterable[str] = (), *, source: str) -> Made:
    """``kind`` of the fields of a section, which are checked by :func:`check_fields` and :func:`check_options` first.

    Raises:
        ConfigError: fields that do not exist, are missing or impossible; what ``kind`` itself finds is said of this section.
    """
    check_fields(given, keywords_of(kind), required, source=source)
    check_options(kind, given, source=source)
    with said_of(source):
        return kind(**given)


@contextmanager
def said_of(source: str) -> Iterator[None]:
    """Faults that are found within, and whose place nobody has told, are those of the section ``source``."""
    try:
        yield
    except ConfigError as error:
        if error.source is not None:
            raise
        raise ConfigError(error.faults, source) from None


def _fits(value: Any, wanted: Any) -> bool:
    origin, inner = get_origin(wanted), get_args(wanted)
    if origin is Annotated:
        return _fits(value, inner[0]) and all(value in limits for limits in inner[1:] if isinstance(limits, Limits))
    if origin in (Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if origin in (Sequence, list, tuple):
        return isinstance(value, list | tuple) and all(_fits(item, inner[0]) for item in value)
    if origin is Mapping:
        return isinstance(value, Mapping)
    if wanted in (int, float):
        return isinstance(value, int | wanted) and not isinstance(value, bool)
    return isinstance(value, wanted) if wanted in (bool, str, type(None)) else True


def _words(wanted: Any) -> str:
    """What a type is called in a sentence."""
    origin, inner = get_origin(wanted), get_args(wanted)
    if origin is Annotated:
        return " ".join([_words(inner[0]), *(str(limits) for limits in inner[1:] if isinstance(limits, Limits))])
    if origin in (Union, types.UnionType):
        return " or ".join(_words(one) for one in inner if one is not type(None))
    if origin in (Sequence, list, tuple):
        return f"a list, each item of it {_words(inner[0])}"
    return "a section of fields" if origin is Mapping else _PLAIN.get(wanted, str(wanted))


def check_finite(given: Mapping[str, Any], *, source: str) -> None:
    """Refuses a field that is, or holds, an infinite number or one that is no number (``nan``).

    Args:
        given: the fields, as :func:`plain` makes them.
        source: as in :func:`check_fields`.

    Raises:
        ConfigError: there is at least one fault.
    """
    values = {name: value if isinstance(value, tuple) else (value,) for name, value in given.items()}
    wrong = [name for name, items in values.items() if any(isinstance(item, float) and not math.isfinite(item) for item in items)]
    if wrong:
        raise ConfigError([f"{name} must be finite, not {given[name]!r}" for name in wrong], source)


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
        if type(default) in (int, float) and (isinstance(value, bool) or not isinstance(value, int | float)):
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
