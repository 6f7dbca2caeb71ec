"""Writing, finding and reading the checkpoints of a run, such that no moment of a crash loses anything.

A file is written under a temporary name in its own folder, forced to the disk and only then renamed over the old one; the oldest states
are removed after the newest is in place. What is written is plain data (:mod:`utility.experiment.plain`), so it loads with
``weights_only=True``; checkpoints of S3PRL go through :mod:`utility.experiment.unpickle`. Keys: specs/s3prl-core.md, section 6.
"""

from __future__ import annotations

import logging
import os
import pickle
import secrets
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch

from utility.errors import CheckpointError, did_you_mean, nearest
from utility.experiment.killpoints import reach
from utility.experiment.plain import from_plain, to_plain
from utility.experiment.states import list_checkpoints, list_states
from utility.experiment.unpickle import DamagedCheckpointError, is_zip, load_foreign

logger = logging.getLogger(__name__)

KEYS = ("Downstream", "Featurizer", "Upstream", "Optimizer", "Scheduler", "Step", "Epoch", "Args", "Config")
_CHUNK = 1 << 22


def _write(handle: IO[bytes], data: Any) -> int:
    """Every byte of every checkpoint passes here, which is where tests let the disk be full."""
    return handle.write(data)


class _Sink:
    """A file for ``torch.save`` that remembers the error of the disk, which torch would replace by one of its own."""

    def __init__(self, handle: IO[bytes]):
        self.handle = handle
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return _write(self.handle, data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.handle.flush()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _replacing(path: Path) -> Iterator[_Sink]:
    """A sink whose content takes the place of ``path`` when the block ends well; otherwise nothing has changed."""
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}-{secrets.token_hex(4)}")
    sink: _Sink | None = None
    try:
        with temporary.open("xb") as handle:
            sink = _Sink(handle)
            yield sink
            reach("checkpoint.written")
            handle.flush()
            os.fsync(handle.fileno())
        reach("checkpoint.before_rename")
        temporary.replace(path)
        _sync_folder(path.parent)
    except (OSError, RuntimeError) as error:
        cause = sink.error if sink is not None and sink.error is not None else error
        if not isinstance(cause, OSError):
            raise
        raise CheckpointError(f"could not write {path}: {cause.strerror or cause}; what was there before is untouched") from error
    finally:
        temporary.unlink(missing_ok=True)


def save(state: dict[str, Any], paths: Sequence[Path], after_each: Callable[[Path], None] = lambda path: None) -> None:
    """Writes one state under each of several names.

    The state is serialised once; the other names get the same bytes. ``states-*`` come last: whoever resumes from ``states-N`` then finds
    every best checkpoint that step N wrote.

    Args:
        state: keys of the spec's section 6; anything :func:`utility.experiment.plain.to_plain` takes.
        paths: files to write, in existing folders.
        after_each: called with each file that is in place, before the next one is written.

    Raises:
        CheckpointError: the disk is full or the folder cannot be written; the old files are untouched.
        TypeError: the state holds something without a plain form.
    """
    plain = to_plain(state)
    first, *others = sorted(dict.fromkeys(paths), key=lambda path: path.name.startswith("states-"))
    with _replacing(first) as sink:
        torch.save(plain, sink)
    after_each(first)
    for path in others:
        with _replacing(path) as sink, first.open("rb") as source:
            while chunk := source.read(_CHUNK):
                sink.write(chunk)
        after_each(path)


def prune(folder: Path, max_keep: int) -> list[Path]:
    """Removes the oldest ``states-*.ckpt`` so that ``max_keep`` remain; returns the removed. To be called after :func:`save`."""
    surplus = list_states(folder)[:-max_keep]
    for _, path in surplus:
        reach("checkpoint.before_remove")
        path.unlink(missing_ok=True)
    return [path for _, path in surplus]


def resolve(path: str | Path) -> Path:
    """The checkpoint that ``path`` means: the file itself, or the newest ``states-*.ckpt`` of the folder.

    Raises:
        CheckpointError: nothing is there, or the folder holds no states.
    """
    path = Path(path)
    if path.is_file():
        return path
    if path.is_dir():
        states = list_states(path)
        if not states:
            raise CheckpointError(f"the folder {path} holds no states-*.ckpt{did_you_mean('states-', _checkpoints_in(path))}")
        return states[-1][1]
    raise _missing(path)


def _missing(path: Path) -> CheckpointError:
    """Names the checkpoints beside it; of folders, which may be anything, only one of nearly this name."""
    guess = nearest(path.name, [p.name for p in path.parent.iterdir() if p.is_dir()]) if path.parent.is_dir() else None
    hint = f"; did you mean {guess!r}?" if guess else did_you_mean(path.name, _checkpoints_in(path.parent))
    return CheckpointError(f"there is no checkpoint {path}{hint}")


def _checkpoints_in(folder: Path) -> list[str]:
    return [path.name for path in list_checkpoints(folder)]


def _verify(path: Path) -> None:
    """Checks the checksums of a zip file, which torch does not: a flipped bit would come back as a weight."""
    with zipfile.ZipFile(path) as archive:
        bad = archive.testzip()
    if bad is not None:
        raise DamagedCheckpointError(f"{path} is damaged (checksum of {bad})")


def _read(path: Path) -> Any:
    if not is_zip(path):
        return load_foreign(path)
    try:
        _verify(path)
        return from_plain(torch.load(path, map_location="cpu", weights_only=True))
    except pickle.UnpicklingError:  # more than plain data: S3PRL's, with a Namespace in it
        return load_foreign(path)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise DamagedCheckpointError(f"{path} is damaged or truncated ({_first_line(error)})") from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]


def load(path: str | Path) -> dict[str, Any]:
    """Reads a training checkpoint, ours or S3PRL's, onto the CPU without executing anything of it.

    Returns:
        The dictionary of the spec's section 6, with ``Args`` and ``Config`` as plain dicts.

    Raises:
        CheckpointError: missing, a folder, unreadable; :class:`DamagedCheckpointError` for truncated, altered or not a checkpoint;
            :class:`UnsafePickleError` for a file that names what it must not.
    """
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder, not a checkpoint")
    if not path.exists():
        raise _missing(path)
    try:
        state = _read(path)
    except OSError as error:
        raise CheckpointError(f"could not read {path}: {error.strerror or error}") from error
    if not isinstance(state, dict) or not any(key in state for key in KEYS):
        found = f"keys {', '.join(map(str, list(state)[:5]))}" if isinstance(state, dict) else f"a {type(state).__name__}"
        raise DamagedCheckpointError(f"{path} is not a training checkpoint: it holds {found or 'nothing'}, not {', '.join(KEYS)}")
    return state


def step_of(path: Path) -> int | None:
    """The step that a checkpoint was written at; None if it cannot be read or does not say."""
    try:
        step = load(path).get("Step")
    except CheckpointError:
        return None
    return step if isinstance(step, int) else None


def load_latest(folder: str | os.PathLike[str], keep_damaged_name: bool = False) -> tuple[dict[str, Any], Path]:
    """Reads the newest readable ``states-*.ckpt`` of a folder.

    A damaged one is reported and renamed ``*.damaged``, and the one before it is used.

    Args:
        folder: an experiment folder.
        keep_damaged_name: do not rename (for ranks other than the leader, and for evaluation beside a training).

    Returns:
        The state and the file that it came from.

    Raises:
        CheckpointError: no states, or none readable.
    """
    tried: list[str] = []
    while states := [path for _, path in list_states(Path(folder)) if path.name not in tried]:
        path = states[-1]
        tried.append(path.name)
        try:
            return load(path), path
        except DamagedCheckpointError as error:
            logger.warning("%s; trying the one before", error)
            if not keep_damaged_name:
                path.replace(path.with_name(path.name + ".damaged"))
        except CheckpointError:
            if path.exists():  # a training beside this process may have pruned it since it was listed
                raise
    if not tried:
        raise CheckpointError(f"the folder {folder} holds no states-*.ckpt")
    raise CheckpointError(f"none of the checkpoints in {folder} can be read ({', '.join(tried)})")
