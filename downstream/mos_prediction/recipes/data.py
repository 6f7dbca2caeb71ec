"""Stages -1 and 0: downloads and csv files."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from utility.errors import UsageError

from ..preparation.recipe import RatedSet, Recipe
from ..preparation.rows import Wishes, rows_of_set
from ..preparation.sources import fetch_all, root_of
from ..preparation.tables import POOLED, averaged, columns_of, pool, write_rows


def download_data(recipe: Recipe, db_root: Path) -> None:
    """Fetches what can be fetched and prints the steps that are the user's."""
    if recipe.pool:
        print(f"{recipe.name} is a pool: download its data sets in their own recipes")
        return
    for path in dict.fromkeys(fetch_all(recipe, db_root)):
        print(f"{recipe.name}: {path}")
    if recipe.manual:
        print(f"{recipe.name}: what remains is yours to do:\n{recipe.manual.replace('DB_ROOT', str(db_root)).rstrip()}")


def prepare(
    recipe: Recipe,
    db_root: Path,
    data: Path,
    wishes: Wishes,
    roles: tuple[str, ...] = ("train", "dev", "test"),
    domain_idx: int | None = None,
    average: bool = False,
) -> list[Path]:
    """Writes the csv files of a recipe's sets, or of its pool.

    Args:
        recipe: what to write.
        db_root: where its archives are unpacked; paths in the files are absolute.
        data: folder to write to.
        wishes: see :class:`..preparation.rows.Wishes`.
        roles: of the sets.
        domain_idx: written as a column: into copies for recipes that have them, else into the test sets.
        average: mean scores only, for other predictors than ours.
    """
    if recipe.pool:
        return [_pooled(recipe, role, data) for role in ("train", "dev")]
    root, written = os.path.abspath(root_of(recipe, db_root)), []  # noqa: PTH100 - resolve() would follow links
    chosen = [rated for rated in recipe.sets.values() if rated.role in roles]
    if not chosen:
        raise UsageError(f"{recipe.name} has no set for {' or '.join(roles)}")
    for rated in chosen:
        rows = rows_of_set(recipe, rated, root, wishes)
        numbered = None if domain_idx is None else [{**row, "domain_idx": str(domain_idx)} for row in rows]
        written.append(_write(rated, rows if recipe.domain_copies or numbered is None or rated.role != "test" else numbered, data, average))
        if recipe.domain_copies and numbered is not None:
            written.append(_write(rated, numbered, data, average, f"_with_domain_idx_{domain_idx}"))
    return written


def _write(rated: RatedSet, rows: list[dict[str, str]], data: Path, average: bool, suffix: str = "") -> Path:
    path = data / f"{rated.name}{suffix}.csv"
    write_rows(path, averaged(rows) if average else rows, columns_of(rated.layout.output, average))
    print(f"{path}: {len(rows)} rows, {len({row['sample_id'] for row in rows})} recordings", file=sys.stderr)
    return path


def _pooled(recipe: Recipe, role: str, data: Path) -> Path:
    path = data / f"{role}.csv"
    rows = pool([recipe.folder / name for name in recipe.pool[role]])
    write_rows(path, rows, POOLED)
    print(f"{path}: {len(rows)} rows of {len(recipe.pool[role])} data sets", file=sys.stderr)
    return path
