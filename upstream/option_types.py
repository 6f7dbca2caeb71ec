"""Whether the options of an upstream are of the types that its constructor is annotated with."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from typing import Any

from utility.errors import UsageError

_WORDS = {bool: "True or False", int: "a whole number", float: "a number", str: "a text", types.NoneType: "None"}
_PASSED = ("ckpt", "model_config")  # paths of any kind; whether there is such a file is said elsewhere


def check_types(name: str, expert: type, options: Mapping[str, Any]) -> None:
    """Refuses what Python would take silently, such as the text ``no``, which is true.

    Only plain annotations (bool, int, float, str, None and unions of them) are looked at; a whole number is also a number.

    Args:
        name: of the upstream.
        expert: its class.
        options: keyword arguments for it.

    Raises:
        UsageError: an option is of another type; the sentence says what it must be.
    """
    hints = _hints(expert)
    for option, value in options.items():
        kinds = _plain_kinds(hints[option]) if option in hints and option not in _PASSED else ()
        if kinds and type(value) not in kinds and not (float in kinds and type(value) is int):
            wanted = " or ".join(_WORDS[kind] for kind in kinds)
            raise UsageError(f"upstream {name!r}: {option} must be {wanted}, not {value!r}")


def _hints(expert: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(expert.__init__)
    except (NameError, TypeError, AttributeError, SyntaxError):  # names that exist for type checkers alone
        return {}


def _plain_kinds(hint: Any) -> tuple[type, ...]:
    """The types of a plain annotation; none of any other."""
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    kinds = typing.get_args(hint) if union else (types.NoneType if hint is None else hint,)
    return tuple(kinds) if all(isinstance(kind, type) and kind in _WORDS for kind in kinds) else ()
