"""Writing a corpus: folders, interruption, processes.

A corpus is a list of independent items (a speaker, a chapter). Each finished item is noted in a journal beside the corpus, so that an
interrupted run continues where it was; a marker says what was written, and whether all of it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tqdm import tqdm

from utility.errors import DataError, UsageError, did_you_mean
from utility.training.pools import cancelling

# Raised by any change that alters what is written.
VERSION = 1


@dataclass(frozen=True)
class Item:
    """One independent part of a corpus.

    Args:
        kind: what it is, such as ``"speaker"``.
        split: the split that it belongs to, or "".
        index: number within kind and split.
        files: about how many files it writes, for the progress bar.
    """

    kind: str
    split: str
    index: int
    files: int

    @property
    def key(self) -> str:
        """Unique within the corpus."""
        return f"{self.kind}/{self.split}/{self.index}"


@dataclass(frozen=True)
class Corpus:
    """How one corpus is written. All functions are module-level, so that processes can be given them.

    Args:
        name: as on the command line.
        roots: names of the files and folders in the output folder that are the corpus' own.
        sizes: training speakers (or the corpus' own unit) of ``tiny``, ``small`` and ``medium``.
        plan: size -> items.
        render: (item, size, seed, folder) -> record; writes the item's files, and returns plain data that ``finish`` needs.
        finish: (records by item key, size, seed, folder) -> None; writes lists and tables.
        with_noises: folder of recordings -> the same corpus with them among its noises; None where noises are not a choice.
    """

    name: str
    roots: tuple[str, ...]
    sizes: dict[str, int]
    plan: Callable[[int], list[Item]]
    render: Callable[[Item, int, int, Path], dict[str, Any]]
    finish: Callable[[dict[str, dict[str, Any]], int, int, Path], None]
    with_noises: Callable[[Path], Corpus] | None = None


@dataclass(frozen=True)
class Order:
    """What is to be written."""

    corpus: str
    size: int
    seed: int
    version: int = VERSION
    noises: str = ""

    @property
    def settings(self) -> dict[str, Any]:
        """What the marker says; noises only where there are any."""
        return {name: value for name, value in asdict(self).items() if name != "noises" or value}


def size_of(corpus: Corpus, size: str | int) -> int:
    """The number that a size's name stands for; numbers stand for themselves.

    Raises:
        UsageError: neither one of the corpus' names nor a positive number.
    """
    if str(size) in corpus.sizes:
        return corpus.sizes[str(size)]
    if not (text := str(size)).isdigit() or int(text) < 1:
        raise UsageError(f"size {size!r} is neither a number of training speakers nor a name{did_you_mean(text, corpus.sizes)}")
    return int(text)


def build(corpus: Corpus, out: Path, size: int, seed: int, jobs: int = 1, overwrite: bool = False, noises: str = "") -> bool:
    """Writes a corpus, or continues an interrupted one.

    Args:
        corpus: what to write.
        out: the folder; made where missing. It may hold other corpora of this program.
        size: see ``size_of``.
        seed: >= 0; equal seeds give equal bytes.
        jobs: processes.
        overwrite: replace a corpus that was written with other settings.
        noises: the folder of recorded noises that the corpus was made with.

    Returns:
        False when the corpus was already there, complete and with the same settings.

    Raises:
        DataError: the folder holds files of somebody else, or the corpus with other settings.
    """
    order, marker, journal = Order(corpus.name, size, seed, noises=noises), *_bookkeeping(corpus, out)
    state = _claim(corpus, out, order, overwrite)
    if state == "complete":
        return False
    _write_marker(marker, order, complete=False)
    records = _read_journal(journal)
    items = corpus.plan(size)
    missing = [item for item in items if item.key not in records]
    with journal.open("a") as log, tqdm(total=sum(item.files for item in items), unit="file", desc=corpus.name) as bar:
        bar.update(bar.total - sum(item.files for item in missing))
        for item, record in _rendered(corpus, missing, order, out, jobs):
            records[item.key] = record
            log.write(json.dumps({"item": item.key, "record": record}) + "\n")
            log.flush()
            bar.update(item.files)
    corpus.finish({item.key: records[item.key] for item in items}, size, seed, out)
    _write_marker(marker, order, complete=True)
    journal.unlink()
    return True


def _bookkeeping(corpus: Corpus, out: Path) -> tuple[Path, Path]:
    """Paths of marker and journal."""
    return out / f".synthesis-{corpus.name}.json", out / f".synthesis-{corpus.name}.journal"


def _claim(corpus: Corpus, out: Path, order: Order, overwrite: bool) -> str:
    """Makes sure that the folder may be written: "new", "partial" or "complete" is what it holds."""
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file, not a folder")
    out.mkdir(parents=True, exist_ok=True)
    marker, journal = _bookkeeping(corpus, out)
    present = [name for name in corpus.roots if (out / name).exists()]
    if not marker.exists():
        if present or (any(out.iterdir()) and not any(out.glob(".synthesis-*.json"))):
            raise DataError(f"folder {out} is not empty and was not written by this program; choose another one")
        return "new"
    written = json.loads(marker.read_text())
    if written["order"] == order.settings:
        return "complete" if written["complete"] and len(present) == len(corpus.roots) else "partial"
    if not overwrite:
        was, wanted = _described(written["order"]), _described(order.settings)
        raise DataError(f"folder {out} holds {corpus.name} of {was}, not {wanted}; give --overwrite to replace it")
    _remove(corpus, out, journal)
    return "new"


def _described(order: dict[str, Any]) -> str:
    noises = f", noises {order['noises']}" if order.get("noises") else ""
    return f"size {order['size']}, seed {order['seed']}, version {order['version']}{noises}"


def _remove(corpus: Corpus, out: Path, journal: Path) -> None:
    for name in corpus.roots:
        path = out / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    journal.unlink(missing_ok=True)


def _write_marker(marker: Path, order: Order, complete: bool) -> None:
    draft = marker.with_suffix(".tmp")
    draft.write_text(json.dumps({"order": order.settings, "complete": complete}) + "\n")
    draft.replace(marker)


def _read_journal(journal: Path) -> dict[str, dict[str, Any]]:
    """Records of the finished items; a last line that was cut off is removed."""
    if not journal.exists():
        return {}
    lines = journal.read_bytes().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith(b"\n")]
    if len(whole) < len(lines):
        journal.write_bytes(b"".join(whole))
    return {entry["item"]: entry["record"] for entry in map(json.loads, whole)}


def _rendered(corpus: Corpus, items: list[Item], order: Order, out: Path, jobs: int) -> Iterator[tuple[Item, dict[str, Any]]]:
    """Items with their records, in order, from one or several processes."""
    arguments = [(corpus.render, item, order.size, order.seed, out) for item in items]
    if jobs <= 1 or len(items) <= 1:
        yield from zip(items, map(_render, arguments), strict=True)
        return
    with ProcessPoolExecutor(min(jobs, len(items)), mp_context=get_context("spawn")) as pool, cancelling(pool):
        yield from zip(items, pool.map(_render, arguments), strict=True)


def _render(arguments: tuple) -> dict[str, Any]:
    render, item, size, seed, out = arguments
    return render(item, size, seed, out)


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
