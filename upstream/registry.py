"""The upstreams that exist, found from the folders alone: ``upstream/<name>/expert.py``, with an optional ``card.yaml`` beside it.

Nothing is imported until :func:`build` is called, so that help texts and listings cost milliseconds. The format of ``card.yaml`` is
described in ``upstream/README.md``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from upstream.card import variants_of
from upstream.option_types import check_types
from upstream.record import UpstreamRecord
from utility.errors import ToolkitError, UnknownNameError, UsageError, did_you_mean
from utility.experiment.plugins import EXPERT_FILE, find_plugins, load_plugin

if TYPE_CHECKING:
    from torch import nn

ROOT = Path(__file__).resolve().parent
CLASS_NAME = "UpstreamExpert"
_FLAGS = {"ckpt": "-k", "model_config": "-g"}
_BEFORE_CKPT = ":"  # NAME:CKPT


@dataclass(frozen=True)
class Entry:
    """One selectable upstream.

    Args:
        name: what ``-u`` takes.
        folder: the plugin's folder.
        kwargs: keyword arguments that the card gives to ``UpstreamExpert``.
        record: what is known of it.
        needs: options that the user has to give (``ckpt``, ``model_config``).
        meant: of these, what is given if not a file, such as ``FOLDER``.
        hidden: left out of listings (old names and aliases).
        outside: the folder was named by its path.
    """

    name: str
    folder: Path
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    record: UpstreamRecord = field(default_factory=lambda: UpstreamRecord(""))
    needs: tuple[str, ...] = ()
    meant: Mapping[str, str] = field(default_factory=dict)
    hidden: bool = False
    outside: bool = False


def available() -> list[str]:
    """The names that ``-u`` takes, sorted, without hidden ones."""
    return sorted(name for name, entry in entries(ROOT).items() if not entry.hidden)


class Catalogue(Mapping[str, Entry]):
    """Entries by name, and under ``NAME:CKPT`` one that needs a checkpoint together with it, such as ``hf:facebook/hubert-base-ls960``.

    The length and the iteration count the names alone. What follows the colon is data for the entry, never code to import, so that
    a stored name of this form may be taken up.
    """

    def __init__(self, by_name: Mapping[str, Entry]):
        self._by_name = dict(by_name)

    def __getitem__(self, name: str) -> Entry:
        if name in self._by_name:
            return self._by_name[name]
        head, colon, ckpt = name.partition(_BEFORE_CKPT) if isinstance(name, str) else (name, "", "")
        if colon and ckpt and "ckpt" in self._by_name[head].needs:
            return _with_ckpt(self._by_name[head], name, ckpt)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)


def _with_ckpt(entry: Entry, name: str, ckpt: str) -> Entry:
    options = MappingProxyType({**entry.kwargs, "ckpt": ckpt})
    needs = tuple(need for need in entry.needs if need != "ckpt")
    return replace(entry, name=name, kwargs=options, needs=needs, record=replace(entry.record, name=name))


@lru_cache(maxsize=8)
def entries(root: Path) -> Catalogue:
    """All entries of the upstream folders below ``root``, by name or ``NAME:CKPT``.

    Raises:
        ToolkitError: two folders claim one name.
        ConfigError: a card is wrong.
    """
    found: dict[str, Entry] = {}
    for folder in find_plugins(root).values():
        for entry in _entries_of(folder):
            if entry.name in found:
                raise ToolkitError(f"two upstreams claim the name {entry.name!r}: {found[entry.name].folder} and {folder}")
            found[entry.name] = entry
    return Catalogue(found)


def find(name_or_path: str | Path) -> Entry:
    """The entry of a registered name, of ``NAME:CKPT``, or of a folder given by its path.

    Raises:
        UnknownNameError: there is no upstream of this name.
        UsageError: the path leads to no upstream folder, or the name takes no checkpoint behind a colon.
    """
    known = entries(ROOT)
    if str(name_or_path) in known:
        return known[str(name_or_path)]
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return _outside_entry(path.resolve())
    head, colon, _ = str(name_or_path).partition(_BEFORE_CKPT)
    if colon and head in known:
        fault = "nothing stands behind the colon" if "ckpt" in known[head].needs else f"{head!r} needs no checkpoint (a file goes to -k)"
        raise UsageError(f"{str(name_or_path)!r} is no upstream of the form NAME:CKPT: {fault}")
    if colon and Path(head).name == head and not head.startswith((".", "~")):
        raise UnknownNameError("upstream", head, available())
    if len(path.parts) > 1 or str(name_or_path).startswith((".", "~")):
        raise UsageError(f"there is no upstream folder {str(name_or_path)!r}")
    raise UnknownNameError("upstream", str(name_or_path), available())


def code_of(name_or_path: str | Path) -> list[Path]:
    """The folders whose code decides what an upstream computes: its own, and the parts and features that upstreams share."""
    library = ROOT.parent / "utility"
    return [find(name_or_path).folder, ROOT / "blocks", library / "features", library / "networks"]


def build(
    name_or_path: str | Path, ckpt: str | None = None, model_config: str | None = None, refresh: bool = False, **kwargs: Any
) -> nn.Module:
    """Imports and constructs an upstream.

    Args:
        name_or_path: a registered name, ``NAME:CKPT``, or the path of a folder with an ``expert.py``.
        ckpt: path or URL of a checkpoint, where the entry takes one.
        model_config: path of a config, where the entry takes one.
        refresh: download again what is cached.
        kwargs: further keyword arguments of the entry's ``UpstreamExpert``; those that are None are not passed.

    A checkpoint may also be what ``utility/export_upstream.py`` wrote.

    Returns:
        a module that takes a list of 1-D waveforms and returns the dict described in ``upstream/README.md``.

    Raises:
        UsageError: an unknown name, a missing or an unknown option, or one of another type than the constructor is annotated with.
        ToolkitError: the plugin cannot be used.
    """
    entry = find(name_or_path)
    if ckpt is not None and entry.name.endswith(f"{_BEFORE_CKPT}{entry.kwargs.get('ckpt')}"):
        raise UsageError(f"upstream {entry.name!r} names its checkpoint, so -k {ckpt} has no place")
    given = {"ckpt": ckpt, "model_config": model_config, **kwargs}
    options = {**entry.kwargs, **{k: v for k, v in given.items() if v is not None}}
    _require(entry, options)
    expert = load_plugin(entry.folder, CLASS_NAME)

    from upstream.interfaces import adapt
    from utility.networks.exported import loading

    with loading(entry.folder.name) as export:
        upstream = adapt(expert(**_accepted(entry, expert, options, refresh)), entry.name)
    export.finish(upstream)
    return upstream


def _require(entry: Entry, options: Mapping[str, Any]) -> None:
    for need in entry.needs:
        if options.get(need) is None:
            flag = f" ({_FLAGS[need]} {entry.meant.get(need, 'FILE')})" if need in _FLAGS else ""
            raise UsageError(f"upstream {entry.name!r} needs the option {need}{flag}")


def _accepted(entry: Entry, expert: type, options: dict[str, Any], refresh: bool) -> dict[str, Any]:
    """The keyword arguments that the constructor takes; the standard three are dropped where an older one does not know them."""
    if options.get("ckpt") is not None and getattr(expert, "stateless", False):
        raise UsageError(f"upstream {entry.name!r} has no weights, so there is nothing to read from {options['ckpt']} (-k)")
    import inspect

    check_types(entry.name, expert, options)
    parameters = inspect.signature(expert).parameters
    options = _of_first_years(options, parameters)
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    unknown = [k for k in options if k not in parameters and not takes_any]
    if unknown:
        raise UsageError(f"upstream {entry.name!r} takes no option {unknown[0]!r}{did_you_mean(unknown[0], parameters)}")
    standard = {"ckpt": None, "model_config": None, "refresh": refresh}
    accepted = {k: v for k, v in {**standard, **options}.items() if takes_any or k in parameters}
    missing = [name for name, p in parameters.items() if _required(p) and name not in accepted]
    if missing:
        raise UsageError(f"upstream {entry.name!r} needs the option {missing[0]}")
    return accepted


def _of_first_years(options: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Options under the names of S3PRL's first year: ``config`` for ``model_config``, and a ``feature_selection`` that may be None."""
    found = dict(options)
    if "config" in parameters and "model_config" not in parameters and ("model_config" in found or _required(parameters["config"])):
        found.setdefault("config", found.pop("model_config", None))
    if "feature_selection" in parameters and _required(parameters["feature_selection"]):
        found.setdefault("feature_selection", None)
    return found


def _required(parameter: Any) -> bool:
    return parameter.default is parameter.empty and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)


def _outside_entry(folder: Path) -> Entry:
    if not (folder / EXPERT_FILE).is_file():
        raise UsageError(f"{folder} is no upstream folder: it has no {EXPERT_FILE}")
    of_folder = {e.name: e for e in _entries_of(folder)}
    entry = of_folder.get(folder.name) or next(iter(of_folder.values()))
    return Entry(str(folder), folder, entry.kwargs, entry.record, entry.needs, entry.meant, outside=True)


def _entries_of(folder: Path) -> list[Entry]:
    """The entries that a folder declares; one of the folder's name if its card declares none."""
    return [
        Entry(one.record.name, folder, MappingProxyType(dict(one.kwargs)), one.record, one.needs, one.meant, one.hidden)
        for one in variants_of(folder)
    ]
