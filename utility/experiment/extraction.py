"""The folder that the features of a corpus are written to: what made them, which are there already, and one process that adds to them.

    extraction.json     what made the features
    extraction.jsonl    a line for each feature file that is whole: its name and size, and the audio file that it was made of
    .lock               held by the process that extracts here

A feature file appears under its name only when it is complete, and its line follows. Whatever has no line, or another size than its line
says, is made again. A folder therefore never mixes the features of two settings, however often a program is killed and started anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout

from utility.errors import DataError, FolderInUseError, UsageError
from utility.experiment.killpoints import reach
from utility.experiment.texts import write_text

SETTINGS, LINES, LOCK = "extraction.json", "extraction.jsonl", ".lock"
IDENTITY = ("identity", "layers")
"""The settings that decide the features; the others say the same in words."""

_PARTIAL = ".tmp-extraction"
_WAY_OUT = "give another --output_dir, or delete the folder to begin anew"


class FeatureFolder:
    """A folder that this process alone writes features to; see :func:`feature_folder`.

    Args:
        path: the folder.
        settings: what makes the features, as plain data; the names in :data:`IDENTITY` are compared.
        lines: the open file of lines.
        done: the lines by the name of the feature file.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], lines: IO[str], done: dict[str, dict[str, Any]]):
        self.path, self.settings, self._lines, self._done = path, settings, lines, done

    def holds(self, target: Path, audio: Path) -> bool:
        """Whether the features of an audio file are there, whole and of the file as it is now.

        Raises:
            DataError: under this name there are those of another file.
        """
        line = self._done.get(self._name(target))
        if line is None or not audio.is_file() or not target.is_file() or target.stat().st_size != line.get("bytes"):
            return False
        now = _described(audio)
        if all(line.get(name) == now[name] for name in ("audio_bytes", "audio_time")):
            return True
        if line.get("audio") != now["audio"]:
            raise DataError(f"{target} holds the features of {line.get('audio')}, not of {audio}; {_WAY_OUT}")
        return False

    def add(self, target: Path, audio: Path, write: Callable[[Path], None]) -> None:
        """Makes a feature file.

        Args:
            target: its name.
            audio: the file that it is made of.
            write: see :func:`write_whole`.

        Raises:
            DataError: the disk refuses.
        """
        try:
            if not (self.path / SETTINGS).exists():
                write_text(self.path / SETTINGS, json.dumps(dict(self.settings), indent=1) + "\n")
            write_whole(target, write)
            reach("extraction.renamed")
            self._lines.write(json.dumps({"name": self._name(target), "bytes": target.stat().st_size, **_described(audio)}) + "\n")
            self._lines.flush()
        except OSError as error:
            raise DataError(f"cannot write {self.path}: {error.strerror or error}") from error

    def _name(self, target: Path) -> str:
        return target.relative_to(self.path).as_posix()


def write_whole(target: Path, write: Callable[[Path], None]) -> None:
    """Makes a file that appears under its name only when it is complete; missing folders are made.

    Args:
        target: its name.
        write: writes the content into a file of another name.

    Raises:
        DataError: the disk refuses.
    """
    partial = target.with_name(f".{target.name}{_PARTIAL}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write(partial)
        reach("extraction.written")
        partial.replace(target)
    except (OSError, RuntimeError) as error:
        raise DataError(f"cannot write {target}: {getattr(error, 'strerror', None) or error}") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def feature_folder(path: Path, settings: Mapping[str, Any], targets: Iterable[Path]) -> Iterator[FeatureFolder]:
    """Opens a folder for the features that these settings make; what a killed process left half-written is removed.

    Args:
        path: the folder; it is made if it is missing.
        settings: see :class:`FeatureFolder`.
        targets: the feature files that are to be there in the end.

    Raises:
        UsageError: the folder holds features of other settings, or of unknown ones, or cannot be made.
        FolderInUseError: another process extracts into it.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the folder {path}: {error.strerror}") from error
    try:
        held = FileLock(path / LOCK).acquire(timeout=0)
    except Timeout as error:
        raise FolderInUseError(f"another process extracts into {path}; wait for it, or give this one another --output_dir") from error
    except OSError as error:
        raise UsageError(f"cannot write to the folder {path}: {error.strerror}") from error
    with held:
        for partial in path.rglob(f".*{_PARTIAL}"):
            partial.unlink(missing_ok=True)
        _check(path, settings, targets)
        done, whole = _read_lines(path / LINES)
        with (path / LINES).open("a", encoding="utf-8") as lines:
            lines.write("" if whole else "\n")
            yield FeatureFolder(path, settings, lines, done)


def _check(path: Path, settings: Mapping[str, Any], targets: Iterable[Path]) -> None:
    """Refuses a folder whose features other settings have made, or nobody knows which."""
    file = path / SETTINGS
    if not file.exists():
        found = next((target for target in targets if target.exists()), None)
        if found is not None:
            raise UsageError(f"{found} is there already, and without {file} nobody knows what made it; {_WAY_OUT}")
        return
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(stored, dict):
            raise ValueError("no mapping")
    except ValueError as error:
        raise UsageError(f"{file} is damaged, so nobody knows what made the features in {path}; {_WAY_OUT}") from error
    plain = json.loads(json.dumps(dict(settings)))
    if any(stored.get(name) != plain[name] for name in IDENTITY):
        changed = [name for name in plain if name != "identity" and stored.get(name) != plain[name]]
        words = "; ".join(f"{name} {stored.get(name)!r}, not {plain[name]!r}" for name in changed)
        raise UsageError(f"{path} holds features of other settings ({words or 'other weights or code of the upstream'}); {_WAY_OUT}")


def _read_lines(path: Path) -> tuple[dict[str, dict[str, Any]], bool]:
    """The lines by name, and whether the last one is complete."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    done = {}
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:  # the end of a killed process
            continue
        if isinstance(entry, dict) and isinstance(entry.get("name"), str):
            done[entry["name"]] = entry
    return done, not text or text.endswith("\n")


def _described(audio: Path) -> dict[str, Any]:
    """How an audio file is known again."""
    found = audio.stat()
    return {"audio": str(audio.resolve()), "audio_bytes": found.st_size, "audio_time": found.st_mtime_ns}
