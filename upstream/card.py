"""What ``card.yaml`` of an upstream's folder declares (upstream/README.md), read without importing anything of the folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from upstream.record import RECORD_FIELDS, UpstreamRecord
from utility.errors import ConfigError, did_you_mean

CARD_FILE = "card.yaml"
_CARD_KEYS = ("record", "variants")
_NUMBERS = ("downsample_rate", "sample_rate")
_FILE_KEYS = ("ckpt", "model_config")
_EQUAL_WIDTHS = re.compile(r"([1-9]\d*) x ([1-9]\d*)")


@dataclass(frozen=True)
class Variant:
    """One name that a folder declares.

    Args:
        record: what is known of it, with its name.
        kwargs: keyword arguments of ``UpstreamExpert``; files of the folder by their paths.
        needs: options that the user has to give.
        meant: of these, what is given if not a file.
        hidden: left out of listings.
    """

    record: UpstreamRecord
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    meant: Mapping[str, str] = field(default_factory=dict)
    hidden: bool = False


def variants_of(folder: Path) -> list[Variant]:
    """The names that a folder declares; its own if it has no card, or one without variants.

    Raises:
        ConfigError: the card is wrong; all faults at once.
    """
    path = folder / CARD_FILE
    if not path.is_file():
        return [Variant(UpstreamRecord(folder.name))]
    card = _read(path)
    base = _mapping(card, "record", "record", path)
    variants = _mapping(card, "variants", "variants", path) or {folder.name: {}}
    return [_variant(folder, name, options, base, path) for name, options in variants.items()]


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        card = (yaml.load(text, Loader=yaml.CSafeLoader) if yaml.__with_libyaml__ else yaml.safe_load(text)) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"not valid YAML ({str(error).splitlines()[0]})", str(path)) from error
    except UnicodeDecodeError as error:
        raise ConfigError("not a text in UTF-8", str(path)) from error
    if not isinstance(card, dict):
        raise ConfigError("a mapping with the keys record and variants is expected", str(path))
    wrong = [f"unknown key {k!r}{did_you_mean(str(k), _CARD_KEYS)}" for k in card if k not in _CARD_KEYS]
    if wrong:
        raise ConfigError(wrong, str(path))
    return card


def _mapping(where: Mapping[str, Any], key: str, name: str, path: Path) -> dict[str, Any]:
    """A part of the card that is a mapping; {} if it is absent or empty."""
    value = where.get(key)
    if value is not None and not isinstance(value, dict):
        raise ConfigError(f"{name} must be a mapping, not {value!r}", str(path))
    return value or {}


def _variant(folder: Path, name: Any, given: Any, base: Mapping[str, Any], path: Path) -> Variant:
    if not isinstance(name, str | int) or isinstance(name, bool):
        raise ConfigError(f"variants: {name!r} is no name", str(path))
    options = dict(_mapping({"": given}, "", f"variants.{name}", path))
    record = {**base, **_mapping(options, "record", f"variants.{name}.record", path)}
    needs, hidden = options.pop("needs", None) or (), options.pop("hidden", False)
    options.pop("record", None)
    faults = [fault for key, value in record.items() if (fault := _fault(key, value))]
    if not (isinstance(needs, list | tuple | dict) and all(isinstance(word, str) for word in needs)):
        faults.append(f"variants.{name}.needs must be a list of options, such as [ckpt], not {needs!r}")
    elif isinstance(needs, dict) and not all(isinstance(word, str) for word in needs.values()):
        faults.append(f"variants.{name}.needs must say in words what each option is, not {needs!r}")
    if type(hidden) is not bool:
        faults.append(f"variants.{name}.hidden must be true or false, not {hidden!r}")
    if faults:
        raise ConfigError(faults, str(path))
    for key in _FILE_KEYS:
        if key in options and (folder / str(options[key])).is_file():
            options[key] = str(folder / options[key])
    record["hidden_sizes"] = _widths(record.get("hidden_sizes", ())) or ()
    return Variant(UpstreamRecord(str(name), **record), options, tuple(needs), needs if isinstance(needs, dict) else {}, hidden)


def _fault(key: Any, value: Any) -> str | None:
    """What is wrong with a field of a record."""
    if key not in RECORD_FIELDS:
        return f"unknown record field {key!r}{did_you_mean(str(key), RECORD_FIELDS)}"
    if key == "hidden_sizes":
        return None if _widths(value) is not None else f"record.{key} must be a list of widths, or 13 x 768 for equal ones, not {value!r}"
    if key in _NUMBERS:
        return None if type(value) is int and value >= 0 else f"record.{key} must be a whole number, not {value!r}"
    return None if isinstance(value, str) else f"record.{key} must be a text, not {value!r}"


def _widths(value: Any) -> tuple[int, ...] | None:
    """The widths that a list, or a text such as ``13 x 768``, says; None if it says none."""
    if isinstance(value, str) and (equal := _EQUAL_WIDTHS.fullmatch(value)):
        return (int(equal[2]),) * int(equal[1])
    return tuple(value) if isinstance(value, list | tuple) and all(type(width) is int and width > 0 for width in value) else None
