"""``egs/<recipe>/recipe.yaml`` as checked data classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from utility.errors import ConfigError, DataError, UnknownNameError, did_you_mean
from utility.experiment.config import load_config

from .rules import Rule

FILE = "recipe.yaml"
ROLES = ("train", "dev", "test")


@dataclass(frozen=True)
class Source:
    """A file to download.

    Args:
        url: its address.
        to: where it goes, below the root of the data set.
        unpack: it is an archive.
        inner: archives in it that are unpacked as well.
        gather: folder that all its recordings are moved to, or "".
        sha256: of the file, where it is known.
    """

    url: str
    to: str
    unpack: bool = False
    inner: Sequence[str] = ()
    gather: str = ""
    sha256: str | None = None


@dataclass(frozen=True)
class Part:
    """A list of a set with the folder of its recordings and that of their resampled copies."""

    list: str
    wavs: str = "."
    copies: str = ""


@dataclass(frozen=True)
class Texts:
    """A table by whose rows others are completed; rows without an entry are dropped.

    Args:
        tables: where it may lie; ``{root}`` is the root of the data set, others are below the working directory.
        key: its column with the key.
        of: what a row's key is.
        columns: the columns that a row gets, by their name in the table.
    """

    tables: Sequence[str]
    key: str
    of: Rule
    columns: Mapping[str, str]


@dataclass(frozen=True)
class Split:
    """How a training list is divided into training and development.

    Args:
        ratio: share of development.
        order: samples are shuffled from their order in the list (``listed``), or from that of their names (``sorted``).
    """

    ratio: float = 0.1
    order: str = "listed"


@dataclass(frozen=True)
class Layout:
    """What a list is like.

    Args:
        columns: what is written, in order, by name; ``wav`` is the recording below its folder.
        output: the order of the columns.
        header: names of the list's columns, or None: its first line has them.
        whole_scores: scores are whole numbers.
        skip_blank: rows without score are passed over.
        missing: ``refuse`` or ``skip`` rows whose recording is not there.
        keep: expressions that columns (of the list or written) must match.
        copy: name of a resampled copy, of ``wav``, ``name`` (its last part) and the written columns.
        by_path: rows are sorted by ``wav_path``.
        texts: see :class:`Texts`.
    """

    columns: Mapping[str, Rule]
    output: Sequence[str]
    header: Sequence[str] | None = None
    whole_scores: bool = False
    skip_blank: bool = False
    missing: str = "refuse"
    keep: Mapping[str, str] = field(default_factory=dict)
    copy: Rule = field(default_factory=lambda: Rule("{wav}"))
    by_path: bool = False
    texts: Texts | None = None


@dataclass(frozen=True)
class RatedSet:
    """One csv file.

    Args:
        name: of the file, without suffix.
        role: ``train``, ``dev`` or ``test``.
        parts: its lists, one after the other.
        layout: of them.
        half: ``train`` or ``dev``: what of a divided list; None: all.
        listener_idx: listeners are numbered.
        domain_idx: written into its rows, or None.
        result: name in results; None for sets that are no benchmark.
        kind: ``synthetic`` or ``distorted`` speech.
    """

    name: str
    role: str
    parts: Sequence[Part]
    layout: Layout
    half: str | None = None
    listener_idx: bool = False
    domain_idx: int | None = None
    result: str | None = None
    kind: str = "synthetic"


@dataclass(frozen=True)
class Recipe:
    """A data set, or a pool of several.

    Args:
        name: of the folder.
        folder: where it lies.
        root: where the lists lie below ``db_root``, unless they lie in it itself.
        sources: what is downloaded.
        manual: steps that nobody can do for the user.
        sets: by name.
        split: of training and development.
        resample: recordings are copied at the wanted rate.
        pool: csv files of other recipes by role, in the order of their domain index.
        conf: the default config file.
        train, dev: names of the csv files for training.
        pretrained: published predictors: folder on the hub -> steps by seed.
        domain_copies: csv files are written with a domain index as well, where one is asked for.
    """

    name: str
    folder: Path
    root: str = ""
    sources: Sequence[Source] = ()
    manual: str = ""
    sets: Mapping[str, RatedSet] = field(default_factory=dict)
    split: Split = field(default_factory=Split)
    resample: bool = False
    pool: Mapping[str, Sequence[str]] = field(default_factory=dict)
    conf: str = "conf/ssl-mos-wav2vec2.yaml"
    train: Sequence[str] = ()
    dev: Sequence[str] = ()
    pretrained: Mapping[str, Any] = field(default_factory=dict)
    domain_copies: bool = False

    def rated(self, name: str) -> RatedSet:
        """The set with this name.

        Raises:
            UnknownNameError: there is none.
        """
        if name not in self.sets:
            raise UnknownNameError(f"set of {self.name}", name, self.sets)
        return self.sets[name]


def read_recipe(folder: str | Path) -> Recipe:
    """The recipe of a folder.

    Raises:
        DataError: the folder has none.
        ConfigError: all faults of its file.
    """
    folder = Path(folder)
    path = folder / FILE
    if not path.is_file():
        raise DataError(f"{folder} is no recipe: it has no {FILE}")
    given = dict(load_config(path))
    layouts, sets = given.pop("layout", None), given.pop("sets", None) or {}
    _check(given, Recipe, str(path), without=("name", "folder", "sets"))
    own = {name: value for name, value in given.items() if name not in ("sources", "split")}
    return Recipe(
        folder.resolve().name,
        folder,
        sources=[_plain(Source, source, f"{path}: sources") for source in given.get("sources", ())],
        split=_plain(Split, given.get("split") or {}, f"{path}: split"),
        sets={name: _set(name, own_set, layouts or {}, f"{path}: sets.{name}") for name, own_set in sets.items()},
        **own,
    )


def _set(name: str, given: Mapping[str, Any], layout: Mapping[str, Any], where: str) -> RatedSet:
    _check(given, RatedSet, where, without=("name",))
    own = dict(given.get("layout") or {})
    merged = {**layout, **own, "columns": {**layout.get("columns", {}), **own.get("columns", {})}}
    if given.get("role") not in ROLES:
        raise ConfigError(f"role must be one of {', '.join(ROLES)}", where)
    parts = [_plain(Part, part, f"{where}.parts") for part in given.get("parts") or ()]
    rest = {key: value for key, value in given.items() if key not in ("layout", "parts")}
    return RatedSet(name, parts=parts, layout=_layout(merged, f"{where}.layout"), **rest)


def _layout(given: Mapping[str, Any], where: str) -> Layout:
    _check(given, Layout, where)
    columns = {name: Rule.of(rule, f"{where}.columns.{name}") for name, rule in given["columns"].items()}
    rest = {name: value for name, value in given.items() if name not in ("columns", "copy", "texts")}
    if given.get("copy"):
        rest["copy"] = Rule.of(given["copy"], f"{where}.copy")
    if texts := given.get("texts"):
        _check(texts, Texts, f"{where}.texts")
        rest["texts"] = Texts(texts["tables"], texts["key"], Rule.of(texts["of"], f"{where}.texts.of"), texts["columns"])
    return Layout(columns, **rest)


def _plain(kind: type, given: Mapping[str, Any], where: str) -> Any:
    _check(given, kind, where)
    return kind(**given)


def _check(given: Mapping[str, Any], kind: type, where: str, without: Sequence[str] = ()) -> None:
    known = [own.name for own in fields(kind) if own.name not in without]
    if unknown := [name for name in given if name not in known]:
        raise ConfigError([f"unknown field {name!r}{did_you_mean(str(name), known)}" for name in unknown], where)
