"""``-o/--override``: changing fields of the arguments and the config from the command line (specs/s3prl-core.md, section 3).

    override := option (",," option)*  [",,"]
    option   := ("args" | "config") ("." field)+ "=" value

What differs from S3PRL, which evaluates values as Python code: a value is a literal (:mod:`utility.experiment.literal`) and never code,
so a word such as ``os`` or ``list`` is a string; ``true``, ``false`` and ``null`` are what yaml makes of them; a value may contain ``=``,
and ``,,`` inside its quotes or brackets; a number steps into a list; an unknown root is refused and not ignored.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from utility.errors import UsageError, nearest
from utility.experiment.literal import parse_literal

ROOTS = ("args", "config")
CHECKED_SECTIONS = {("config", "runner"), ("config", "specaug")}  # every field has a default there, and an unknown one is refused later
_OPENING, _CLOSING = "([{", ")]}"


@dataclass(frozen=True)
class Option:
    """One ``key=value``.

    Args:
        root: ``"args"`` or ``"config"``.
        fields: the names after it.
        value: the parsed value.
    """

    root: str
    fields: tuple[str, ...]
    value: Any

    @property
    def key(self) -> str:
        return ".".join((self.root, *self.fields))


def parse_override(text: str | None) -> list[Option]:
    """The options of an override string; None, the empty string and ``none`` (any case) hold none.

    Raises:
        UsageError: an option without ``=``, a root other than args and config, a missing field.
    """
    return [_option(part) for part in options_of(text)]


def options_of(text: str | None) -> list[str]:
    """The texts ``key=value`` of an override string."""
    if text is None or text.strip().lower() in ("", "none"):
        return []
    parts = [part.strip() for part in _split(text)]
    if parts and not parts[-1]:
        parts.pop()
    return parts


def _split(text: str) -> list[str]:
    """Splits at ``,,`` outside quotes and brackets; at every ``,,`` if quotes or brackets are left open."""
    parts, start, quote, depth, before, i = [], 0, "", 0, "", 0
    while i < len(text):
        char = text[i]
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'" and before in ("=", ",", ":", *_OPENING):  # elsewhere it is an apostrophe
            quote = char
        elif char in _OPENING + _CLOSING:
            depth += 1 if char in _OPENING else -1
        elif depth == 0 and text.startswith(",,", i):
            parts.append(text[start:i])
            start = i = i + 2
            before = ""
            continue
        before = char if not char.isspace() else before
        i += 1
    return [*parts, text[start:]] if not quote and depth == 0 else text.split(",,")


def _option(text: str) -> Option:
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"-o: {text!r} is not of the form config.FIELD=VALUE or args.NAME=VALUE")
    root, *fields = (part.strip() for part in key.split("."))
    if root not in ROOTS:
        guess = nearest(root, ROOTS)
        meant = ".".join([guess, *fields] if guess else ["config", root, *fields])
        raise UsageError(f"-o: {key.strip()!r} must begin with 'config.' or 'args.'; did you mean {meant!r}?")
    if not fields or not all(fields):
        raise UsageError(f"-o: {key.strip()!r} names no field; write {root}.FIELD=VALUE")
    if root == "args" and len(fields) > 1:
        raise UsageError(f"-o: {key.strip()!r} has a field too many; arguments are flat, as in 'args.{fields[0]}'")
    return Option(root, tuple(fields), parse_literal(value))


def apply_override(options: Sequence[Option], args: dict[str, Any], config: dict[str, Any], warn: Callable[[str], None]) -> None:
    """Sets each option's field in place, in order; reports each, and new names that look like slips of the pen.

    Args:
        options: from :func:`parse_override`.
        args, config: changed in place; missing dicts on the way are made.
        warn: gets ``[Override] - <key> = <value>`` and the warnings.

    Raises:
        UsageError: the way leads through a value that has no fields, or to an index that a list does not have.
    """
    for option in options:
        warn(f"[Override] - {option.key} = {option.value}")
        place: Any = args if option.root == "args" else config
        for depth, name in enumerate(option.fields[:-1], 1):
            place = _step(place, name, option, depth, warn)
        _assign(place, option, warn)


def _step(place: Any, name: str, option: Option, depth: int, warn: Callable[[str], None]) -> Any:
    """The dict or list under ``name``, made if nothing is there."""
    key = _locate(place, name, option, depth, warn)
    if isinstance(place, dict) and place.get(key) is None:
        place[key] = {}
    if not isinstance(place[key], (dict, list)):
        here = ".".join((option.root, *option.fields[:depth]))
        raise UsageError(f"-o {option.key}: {here} is {place[key]!r}, which has no field {option.fields[depth]!r}")
    return place[key]


def _assign(place: Any, option: Option, warn: Callable[[str], None]) -> None:
    key = _locate(place, option.fields[-1], option, len(option.fields), warn)
    wraps = option.root == "args" and isinstance(place.get(key), list) and not isinstance(option.value, list)
    value = copy.deepcopy(option.value)
    place[key] = [value] if wraps else value


def _locate(place: Any, name: str, option: Option, depth: int, warn: Callable[[str], None]) -> Any:
    """``name`` as a key or index of ``place``; warns about a new key that resembles one that is there."""
    if isinstance(place, list):
        if not name.lstrip("-").isdecimal() or not -len(place) <= int(name) < len(place):
            here = ".".join((option.root, *option.fields[: depth - 1]))
            raise UsageError(f"-o {option.key}: {here} is a list of {len(place)}, which has no index {name!r}")
        return int(name)
    keys = {str(key): key for key in place}
    if name not in keys:
        guess = nearest(name, keys)
        if guess and (option.root, *option.fields[: depth - 1]) not in CHECKED_SECTIONS:
            warn(f"{'.'.join((option.root, *option.fields[:depth]))} is new; did you mean {guess!r}?")
    return keys.get(name, name)
