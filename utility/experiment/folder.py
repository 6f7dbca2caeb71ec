"""One experiment's folder: what lies in it, who may write to it, and how an earlier run is put aside.

Layout (specs/s3prl-core.md, section 5, and what is added to it)::

    args_<tag>.yaml  config_<tag>.yaml    the settings of every start
    states-<step>.ckpt  dev-best.ckpt     checkpoints
    log.log  metrics.jsonl  events.out.*  logs, append-only
    results/<checkpoint>/                 what evaluating that checkpoint gave
    previous-<tag>/                       an earlier run, moved here by a fresh one
    .lock                                 held by the process that trains here
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from utility.errors import FolderInUseError, UsageError
from utility.experiment.dialect import Dumper
from utility.experiment.states import SUFFIXES, list_results, list_states
from utility.experiment.texts import write_text

LOCK = ".lock"
PREVIOUS = "previous-"
RUN_FILES = (*(f"*{suffix}" for suffix in SUFFIXES), "log.log", "metrics.jsonl", "events.out.tfevents.*", "args_*.yaml")

# A POSIX lock does not keep out its own process, and is lost when that process closes any handle of the file.
_held: dict[Path, int] = {}


def time_tag() -> str:
    """Local time as ``%Y-%m-%d-%H-%M-%S``, the tag of settings files and of runs put aside."""
    return time.strftime("%Y-%m-%d-%H-%M-%S")


class ExperimentFolder:
    """The folder ``path``; nothing is created before something is written.

    Args:
        path: the experiment folder.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def __fspath__(self) -> str:
        return str(self.path)

    def create(self) -> Path:
        """Makes the folder if it is missing.

        Raises:
            UsageError: it cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot make the experiment folder {self.path}: {error.strerror}") from error
        return self.path

    def states(self) -> list[tuple[int, Path]]:
        """``(step, file)`` of every numbered checkpoint, oldest first."""
        return list_states(self.path)

    def latest(self) -> Path | None:
        """The numbered checkpoint of the highest step."""
        states = self.states()
        return states[-1][1] if states else None

    def holds_run(self) -> bool:
        """Whether a run has left anything here."""
        return any(True for pattern in RUN_FILES for _ in self.path.glob(pattern))

    def results(self, checkpoint: str | Path | None) -> Path:
        """Where the results of evaluating ``checkpoint`` belong; None means weights that were never trained."""
        return self.path / "results" / (Path(checkpoint).stem if checkpoint else "initial")

    @property
    def locked(self) -> bool:
        """Whether this process is the trainer of the folder."""
        return _held.get(self.path.resolve() / LOCK) == os.getpid()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Makes this process the only trainer of the folder for the length of the block.

        The lock dies with the process however that ends, and its forked children do not inherit it. What killed writers left
        half-written is removed first.

        Raises:
            FolderInUseError: another process, or this one, holds it.
        """
        self.create()
        place = self.path.resolve() / LOCK
        if self.locked:
            raise FolderInUseError(f"this process is training in {self.path} already")
        handle = _acquire(place, self.path)
        _held[place] = os.getpid()
        try:
            self._clean()
            yield
        finally:
            del _held[place]
            os.close(handle)

    def _clean(self) -> None:
        for leftover in self.path.glob(".*.tmp-*"):
            leftover.unlink(missing_ok=True)

    def set_aside(self, tag: str) -> Path | None:
        """Moves the run that lies here into ``previous-<tag>/`` and returns that folder, or None if there is no run.

        Everything moves except the lock and runs put aside earlier. The numbered checkpoints move first, so that a folder moved
        halfway is never taken for one to resume.
        """
        if not self.holds_run():
            return None
        kept = [path for path in self.path.iterdir() if path.name != LOCK and not path.name.startswith(PREVIOUS)]
        return self._move(sorted(kept, key=lambda path: (not path.name.startswith("states-"), path.name)), tag)

    def set_aside_after(self, step: int, tag: str, named: Iterable[Path] = ()) -> Path | None:
        """Moves the checkpoints later than ``step``, and their results, into ``previous-<tag>/``: a run resumed there writes its own.

        Numbered checkpoints go last, the newest of them first, so that a move broken off leaves no gap and something that says what else
        is to be moved.

        Args:
            step: where the run is resumed.
            tag: the time.
            named: the checkpoints without a number that are later.

        Returns:
            the folder, or None if nothing is later.
        """
        results = [path for number, path in list_results(self.path / "results") if number > step]
        later = [*named, *(path for number, path in reversed(self.states()) if number > step)]
        moved = [*results, *(part for path in later for part in (self.results(path), path) if part not in results and part.exists())]
        return self._move(moved, tag) if moved else None

    def _move(self, paths: Iterable[Path], tag: str) -> Path:
        target, count = self.path / f"{PREVIOUS}{tag}", 1
        while target.exists():
            count += 1
            target = self.path / f"{PREVIOUS}{tag}-{count}"
        target.mkdir()
        for path in paths:
            place = target / path.relative_to(self.path)
            place.parent.mkdir(exist_ok=True)
            path.rename(place)
        return target

    def dump_settings(self, args: Mapping[str, Any] | argparse.Namespace, config: Mapping[str, Any], tag: str) -> None:
        """Writes ``args_<tag>.yaml`` and ``config_<tag>.yaml`` with sorted keys, as S3PRL does at every start."""
        self.create()
        for name, content in (("args", vars(args) if isinstance(args, argparse.Namespace) else args), ("config", config)):
            text = yaml.dump(dict(content), Dumper=Dumper, sort_keys=True, allow_unicode=True)
            write_text(self.path / f"{name}_{tag}.yaml", text)

    def backup(self, source: str | Path, tag: str) -> Path:
        """Copies a settings file to ``<stem>_<tag><suffix>``."""
        source = Path(source)
        return Path(shutil.copyfile(source, self.create() / f"{source.stem}_{tag}{source.suffix}"))

    def sizes(self, names: Iterable[str]) -> dict[str, int]:
        """Bytes of each append-only log (0 when missing), for the checkpoint that is written now."""
        return {name: file.stat().st_size if (file := self.path / name).is_file() else 0 for name in names}

    def truncate(self, sizes: Mapping[str, int]) -> list[str]:
        """Cuts logs back to the sizes that a checkpoint recorded; returns the names that were cut.

        What is cut is what the resumed run writes again. A file shorter than recorded, or missing, stays as it is.
        """
        cut = [name for name, size in sizes.items() if (file := self.path / name).is_file() and file.stat().st_size > size]
        for name in cut:
            os.truncate(self.path / name, sizes[name])
        return cut


def _acquire(place: Path, folder: Path) -> int:
    """Opens and locks the lock file, and writes into it who holds it."""
    import fcntl

    try:
        handle = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise UsageError(f"cannot write to the experiment folder {folder}: {error.strerror}") from error
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(handle, 200).decode(errors="replace").strip() or "another process"
        os.close(handle)
        if not isinstance(error, (BlockingIOError, PermissionError)):
            raise UsageError(f"cannot lock the experiment folder {folder}: {error.strerror}") from error
        raise FolderInUseError(f"{holder} is training in {folder}") from error
    os.ftruncate(handle, 0)
    os.write(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
    return handle
