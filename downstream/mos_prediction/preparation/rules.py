"""How a value of a csv file is made of the columns of a list: a template, and what of it counts."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from utility.errors import ConfigError, DataError, did_you_mean


@dataclass(frozen=True)
class Rule:
    """A value.

    Args:
        source: a template such as ``"{method}-SNR{snr}"``; the names are columns.
        match: a regular expression that the filled template must match as a whole.
        to: a template of its groups, ``{1}`` and so on; by default the first group that took part.
        lower: in lower case.
    """

    source: str
    match: str | None = None
    to: str | None = None
    lower: bool = False

    @classmethod
    def of(cls, given: Any, where: str) -> Rule:
        """From yaml: a template alone, or a mapping with ``from``.

        Raises:
            ConfigError: neither of them, an unknown field, or a damaged expression.
        """
        if isinstance(given, str):
            return cls(given)
        if not isinstance(given, Mapping) or "from" not in given:
            raise ConfigError("must be a template, or a mapping with 'from'", where)
        fields = ("from", "match", "to", "lower")
        if unknown := [name for name in given if name not in fields]:
            raise ConfigError(f"unknown field {unknown[0]!r}{did_you_mean(str(unknown[0]), fields)}", where)
        rule = cls(given["from"], given.get("match"), given.get("to"), bool(given.get("lower", False)))
        try:
            re.compile(rule.match or "")
        except re.error as error:
            raise ConfigError(f"{rule.match!r} is no regular expression: {error}", where) from None
        return rule

    @cached_property
    def names(self) -> list[str]:
        """The columns that it needs."""
        return [name for _, name, _, _ in string.Formatter().parse(self.source) if name]

    def value(self, columns: Mapping[str, str], where: str) -> str:
        """The value.

        Raises:
            DataError: a column is not there, or its text is not of the expected form.
        """
        if missing := [name for name in self.names if columns.get(name) is None]:
            raise DataError(f"{where} has no column {missing[0]!r}{did_you_mean(missing[0], sorted(columns))}")
        text = self.source.format_map(columns)
        if self.match is not None:
            found = re.fullmatch(self.match, text)
            if not found:
                raise DataError(f"{where}: {text!r} is not of the form {self.match}")
            groups = {str(number): group or "" for number, group in enumerate(found.groups(), 1)}
            text = self.to.format(None, *groups.values()) if self.to else next(group for group in found.groups() if group is not None)
        return text.lower() if self.lower else text
