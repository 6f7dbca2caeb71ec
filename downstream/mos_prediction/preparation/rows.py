"""Rows of csv files, from the lists of a data set."""

from __future__ import annotations

import csv
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from utility.errors import DataError
from utility.text.files import lines_of, naming, rows_of

from .recipe import Layout, Part, RatedSet, Recipe, Texts
from .resampling import resampled
from .splits import chosen

Row = dict[str, str]


@dataclass(frozen=True)
class Wishes:
    """What a user may choose.

    Args:
        seed: of the split.
        sample_rate: of the recordings in Hz; None leaves them as they are.
        most: draw no more than so many samples of a divided list; None: all.
        jobs: threads.
    """

    seed: int = 1337
    sample_rate: int | None = None
    most: int | None = None
    jobs: int = 1


def rows_of_set(recipe: Recipe, rated: RatedSet, root: str, wishes: Wishes = Wishes()) -> list[Row]:
    """All columns of all rows of a set, scores as text in Python's form.

    Args:
        recipe: whose split and rate count.
        rated: the set.
        root: folder with lists and recordings; ``""`` is the working directory.
        wishes: of the user.

    Raises:
        DataError: a list is missing or damaged, a recording is missing, two recordings have one id.
    """
    shuffler, rows = random.Random(wishes.seed), []
    for part in rated.parts:
        own = list(_rows_of_part(part, rated.layout, root))
        if rated.half is not None:
            taken = chosen([row["sample_id"] for row in own], recipe.split, rated.half, shuffler, wishes.most)
            own = [row for row in own if row["sample_id"] in taken]
        rows += _at_rate(own, part, rated.layout, root, wishes) if recipe.resample and wishes.sample_rate else own
    if not rows:
        raise DataError(f"{rated.name}: no row is left of {', '.join(part.list for part in rated.parts)} in {root or '.'}")
    if rated.layout.by_path:
        rows.sort(key=lambda row: row["wav_path"])
    _check_ids(rows, rated.name)
    if rated.listener_idx:
        numbers = {listener: str(number) for number, listener in enumerate(dict.fromkeys(row["listener_id"] for row in rows))}
        rows = [{**row, "listener_idx": numbers[row["listener_id"]]} for row in rows]
    return rows if rated.domain_idx is None else [{**row, "domain_idx": str(rated.domain_idx)} for row in rows]


def _rows_of_part(part: Part, layout: Layout, root: str) -> Iterator[Row]:
    texts = _texts(layout.texts, root) if layout.texts else None
    seen: dict[str, bool] = {}
    for where, listed in _listed(_below(root, "", part.list), layout.header):
        if (row := _row(listed, layout, where)) is None:
            continue
        if texts is not None:
            if (found := texts.get(layout.texts.of.value(listed, where))) is None:
                continue
            row |= found
        row["wav_path"] = _below(root, part.wavs, row["wav"])
        if row["wav_path"] not in seen:
            seen[row["wav_path"]] = Path(row["wav_path"]).is_file()
        if seen[row["wav_path"]]:
            yield row
        elif layout.missing == "refuse":
            raise DataError(f"{where}: there is no recording {row['wav_path']}")


def _listed(path: str, header: Sequence[str] | None) -> Iterator[tuple[str, Row]]:
    """The rows of a list, each with its place for sentences."""
    hint, name = "stage -1 downloads it, or says how to get it", naming(path, "list")
    if header is None:
        for line, row in rows_of(path, (), "list", hint=hint):
            yield f"{name}, line {line}", row
        return
    for line, values in enumerate(csv.reader(lines_of(path, "list", hint=hint)), 1):
        if not values:
            continue
        if len(values) < len(header):
            raise DataError(f"{name}, line {line} has {len(values)} columns, not {len(header)} ({', '.join(header)})")
        yield f"{name}, line {line}", dict(zip(header, values, strict=False))


def _row(listed: Row, layout: Layout, where: str) -> Row | None:
    """What is written of a listed row, or None if it is to be passed over."""
    row: Row = {}
    for name, rule in layout.columns.items():
        row[name] = rule.value({**listed, **row}, where)
    row["wav"] = row["wav"].removeprefix("./")
    if layout.skip_blank and not row["score"].strip():
        return None
    for name, form in layout.keep.items():
        if not re.search(form, row.get(name, listed.get(name, ""))):
            return None
    try:
        row["score"] = str(int(row["score"]) if layout.whole_scores else float(row["score"]))
    except ValueError:
        raise DataError(f"{where}: the score {row['score']!r} is no {'whole ' * layout.whole_scores}number") from None
    return row


def _texts(texts: Texts, root: str) -> dict[str, Row]:
    places = [table.format(root=root or ".") for table in texts.tables]
    path = next((place for place in places if Path(place).is_file()), places[0])
    rows = rows_of(path, (texts.key, *texts.columns.values()), "table of texts", hint="stage -1 downloads it")
    return {row[texts.key]: {own: row[theirs] for own, theirs in texts.columns.items()} for _, row in rows}


def _at_rate(rows: list[Row], part: Part, layout: Layout, root: str, wishes: Wishes) -> list[Row]:
    pairs = [(row["wav_path"], _below(root, part.copies or f"{part.wavs}_{wishes.sample_rate}", _copy(row, layout))) for row in rows]
    paths = resampled(pairs, wishes.sample_rate, wishes.jobs)
    return [{**row, "wav_path": path} for row, path in zip(rows, paths, strict=True)]


def _copy(row: Row, layout: Layout) -> str:
    return layout.copy.value({**row, "name": Path(row["wav"]).name}, row["wav_path"])


def _below(root: str, folder: str, name: str) -> str:
    """A path as SHEET writes it: ``./x`` stays so where there is no root."""
    return "/".join(part for part in (root.rstrip("/"), "" if root and folder == "." else folder, name) if part)


def _check_ids(rows: Sequence[Mapping[str, str]], name: str) -> None:
    places: dict[str, str] = {}
    for row in rows:
        if (first := places.setdefault(row["sample_id"], row["wav_path"])) != row["wav_path"]:
            raise DataError(f"{name}: the sample id {row['sample_id']} means both {first} and {row['wav_path']}")
