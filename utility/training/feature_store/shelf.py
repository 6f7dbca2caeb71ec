"""The files of a feature store: found, written whole or not at all, and bounded in all.

    DIR/<upstream>/<xx>/<samples>.states    an utterance; its time is when a run last began to use it
    DIR/<upstream>/about.json               what the upstream was, for people
    DIR/runs/                               the processes that use the store
    DIR/bytes, DIR/lock                     how much there is, and the lock around it

The store only ever makes a run quicker: whatever the disk refuses is one warning, and the run goes on without storing.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any

from filelock import FileLock

from utility.errors import UsageError
from utility.experiment.killpoints import reach
from utility.training.feature_store.entry import Entry
from utility.training.feature_store.presence import Presence, living

log = logging.getLogger(__name__)

SUFFIX = ".states"
TEMPORARY = ".tmp-"
FULL_PART = 0.9  # what remains after older entries have been removed


class Shelf:
    """The entries of one upstream in a store.

    Args:
        folder: of the store.
        upstream: the fingerprint.
        limit: bytes that all entries of the store may have together.
        about: what the upstream is, as plain data.

    Raises:
        UsageError: the folder cannot be made.
    """

    def __init__(self, folder: Path, upstream: str, limit: float, about: Mapping[str, Any]):
        self.folder, self.place, self.limit = folder, folder / upstream, limit
        self.writes = True
        self._used: set[str] = set()
        self._presence: Presence | None = None
        make_folder(folder)
        with self._or_nothing_is_written():
            self._open(about)

    def find(self, digest: str) -> Entry | None:
        """The entry of an utterance; None if there is none, or only what is left of one."""
        path = self._path(digest)
        try:
            entry = Entry.read(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            if self.writes:
                with suppress(OSError):
                    path.unlink()
            return None
        self._use(path)
        return entry

    def put(self, digest: str, entry: Entry) -> None:
        """Writes an entry, unless the store is full of what running processes use or the disk refuses."""
        if self.writes:
            with self._or_nothing_is_written():
                self._put(self._path(digest), entry)

    def close(self) -> None:
        """This process no longer uses the store."""
        self.writes = False
        if self._presence is not None:
            self._presence.leave()

    def _open(self, about: Mapping[str, Any]) -> None:
        runs = self.folder / "runs"
        runs.mkdir(exist_ok=True)
        with self._locked():
            if living(runs).died:
                self._total_after_cleaning()
            self._presence = Presence(runs)
        self.place.mkdir(exist_ok=True)
        if not (self.place / "about.json").exists():
            text = json.dumps(dict(about), indent=1, default=str).encode()
            temporary = self._temporary(self.place / "about.json")
            temporary.touch()
            _write(temporary, [text], self.place / "about.json")

    @contextmanager
    def _or_nothing_is_written(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.writes = False
            why = error.strerror or error
            log.warning("the feature store %s takes nothing more (%s); the run goes on without storing", self.folder, why)

    def _locked(self) -> FileLock:
        return FileLock(self.folder / "lock")

    def _path(self, digest: str) -> Path:
        return self.place / digest[:2] / f"{digest}{SUFFIX}"

    def _use(self, path: Path) -> None:
        """The first use by this process is noted at the file: what has been used since a live run began is not removed."""
        if path.name not in self._used:
            self._used.add(path.name)
            with suppress(OSError):
                os.utime(path)

    def _put(self, path: Path, entry: Entry) -> None:
        if path.exists():  # another process was quicker
            self._use(path)
            return
        blocks = list(entry.blocks())
        size = sum(len(block) for block in blocks)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._temporary(path)
        try:
            if self._reserve(size, temporary):
                _write(temporary, blocks, path)
                self._used.add(path.name)
            else:
                self._say_full()
        except BaseException:
            with suppress(OSError), self._locked():
                (self.folder / "bytes").unlink(missing_ok=True)  # whoever writes next counts anew
            raise
        finally:
            temporary.unlink(missing_ok=True)

    def _temporary(self, path: Path) -> Path:
        """A name beside it that says who writes there."""
        return path.with_name(f"{TEMPORARY}{self._presence.name if self._presence else ''}-{secrets.token_hex(4)}")

    def _say_full(self) -> None:
        self.writes = False
        log.warning(
            "the feature store %s is full (%.3g GB, all in use by running trainings): what else comes is computed anew each time; "
            "runner.feature_store_gb makes it larger",
            *(self.folder, self.limit / 1e9),
        )

    # ---- how much there is

    def _reserve(self, size: int, temporary: Path) -> bool:
        """Counts ``size`` bytes more, after removing the entries longest out of use if need be; False if there is no room.

        A file of that length is made, so that whoever counts anew while it is written counts all of it.
        """
        with self._locked():
            total = self._total() + size
            if total > self.limit:
                total = self._total_after_removing(size) + size
            fits = total <= self.limit
            self._note(total if fits else total - size)
            if fits:
                with temporary.open("xb") as file:
                    file.truncate(size)
            return fits

    def _total(self) -> int:
        try:
            return int((self.folder / "bytes").read_text())
        except (FileNotFoundError, ValueError):
            return self._total_after_cleaning()

    def _note(self, total: int) -> None:
        (self.folder / "bytes").write_text(f"{total:020d}\n")

    def _total_after_cleaning(self) -> int:
        """Counts anew, and removes what killed writers have left."""
        total = sum(size for *_, size in self._entries(living(self.folder / "runs").names))
        self._note(total)
        return total

    def _total_after_removing(self, size: int) -> int:
        live = living(self.folder / "runs")
        entries = sorted(self._entries(live.names))
        total = sum(bytes_ for *_, bytes_ in entries)
        for time, path, bytes_ in entries:
            if total + size <= FULL_PART * self.limit or time >= live.since:
                break
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < live.since:  # nobody has begun to use it since it was listed
                    path.unlink()
                    total -= bytes_
        return total

    def _entries(self, live: frozenset[str]) -> Iterator[tuple[float, Path, int]]:
        """Time, file and bytes of all entries and of what is being written; what the dead were writing is removed."""
        for path in chain(self.folder.glob("*/*/*"), self.folder.glob(f"*/{TEMPORARY}*")):
            with suppress(FileNotFoundError):
                if path.name.startswith(TEMPORARY) and not any(path.name.startswith(f"{TEMPORARY}{name}-") for name in live):
                    path.unlink()
                    continue
                found = path.stat()
                time = float("inf") if path.name.startswith(TEMPORARY) else found.st_mtime
                yield time, path, found.st_size


def _write(temporary: Path, blocks: Sequence[bytes | memoryview], path: Path) -> None:
    """Writes into a file that is there, forces it to the disk and gives it its name."""
    with temporary.open("r+b") as file:
        for block in blocks:
            file.write(block)
        reach("store.written")
        file.flush()
        os.fsync(file.fileno())
    reach("store.before_rename")
    temporary.replace(path)


def make_folder(folder: Path) -> None:
    """Makes the folder of a store.

    Raises:
        UsageError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the feature store {folder}: {error.strerror}") from error
