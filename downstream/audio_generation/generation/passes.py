"""What has been generated so far, pass by pass, so that a long generation goes on where it was killed."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import re
import shutil
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from utility.errors import DataError
from utility.experiment.texts import write_whole

log = logging.getLogger(__name__)
HEARD = "heard"  # the digest of what a pass goes on from


def fingerprint(settings: Mapping[str, Any], weights: Mapping[str, torch.Tensor]) -> str:
    """A word that changes with anything that is generated."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for name, value in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


class Progress:
    """The steps of several passes at once on one bar.

    Args:
        bar: what shows them.

    Attributes:
        stopped: the next step of any pass is its last.
    """

    def __init__(self, bar: tqdm):
        self.bar, self.stopped, self._lock = bar, False, threading.Lock()

    @contextmanager
    def of_pass(self) -> Iterator[None]:
        """A pass; if it fails, the others end as well, without a word."""
        try:
            yield
        except CancelledError:
            return
        except BaseException:
            self.stopped = True
            raise

    def expect(self, steps: int) -> None:
        """So many more than was thought."""
        with self._lock:
            self.bar.total += steps

    def step(self) -> None:
        """One more.

        Raises:
            CancelledError: nobody waits for the pass any longer.
        """
        if self.stopped:
            raise CancelledError
        with self._lock:
            self.bar.update()


class Passes:
    """The finished passes over numbered streams, or examples, in ``folder/.unfinished-<fingerprint>``.

    Args:
        folder: where the files of the generation go in the end.
        mark: the fingerprint; what another generation left is not looked at.
    """

    def __init__(self, folder: Path, mark: str):
        self.folder = folder / f".unfinished-{mark}"

    def path(self, streams: range) -> Path:
        """The file of the pass over these."""
        return self.folder / f"{streams.start}-{streams.stop}.npz"

    def done(self) -> list[range]:
        """The streams of each finished pass, in order."""
        bounds = (re.fullmatch(r"(\d+)-(\d+)\.npz", path.name) for path in self.folder.glob("*.npz"))
        return sorted((range(*map(int, match.groups())) for match in bounds if match), key=lambda streams: streams.start)

    def left(self, count: int, size: int, heard: Callable[[range], bytes] = lambda streams: b"") -> list[range]:
        """The streams below ``count`` that no finished pass has, ``size`` at once.

        Args:
            count: of all streams.
            size: of a pass, which may have been another one before.
            heard: what streams go on from; a pass that has heard something else is removed.

        Raises:
            DataError: the file of a pass is damaged.
        """
        for streams in self.done():
            if not np.array_equal(self.load(streams, [HEARD])[HEARD], _digest(heard(streams))):
                self.path(streams).unlink()
        ends = [0, *(bound for streams in self.done() for bound in (streams.start, streams.stop)), count]
        gaps = zip(ends[::2], ends[1::2], strict=True)
        return [range(first, min(first + size, last)) for start, last in gaps for first in range(start, last, size)]

    def bar(self, left: Sequence[range], steps: int) -> tqdm:
        """Progress over the finished passes and those that are left, in steps, so many a pass."""
        done = len(self.done())
        total, initial = (done + len(left)) * steps, done * steps
        return tqdm(total=total, initial=initial, desc="generate", unit="step", mininterval=0.5, dynamic_ncols=True)

    def load(self, streams: range, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
        """A finished pass, or only what is named of it.

        Raises:
            DataError: its file is damaged.
        """
        path = self.path(streams)
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                return {name: stored[name] for name in names or stored.files}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"{path} is damaged; remove it, and its part is generated again: {error}") from error

    def keep(self, streams: range, found: Mapping[str, np.ndarray], heard: bytes = b"") -> None:
        """Writes a finished pass and what its streams have gone on from; the file appears whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        np.savez_compressed(content, **found, **{HEARD: _digest(heard)})
        write_whole(self.path(streams), lambda path: path.write_bytes(content.getvalue()))

    def clear(self) -> None:
        """Removes them, once everything is written, and names what generations with other settings have not finished."""
        shutil.rmtree(self.folder, ignore_errors=True)  # what a kill cut short lies there too
        if others := sorted(self.folder.parent.glob(".unfinished-*")):
            log.warning(
                "%s: unfinished generations with other settings; remove them if nobody goes on with them", ", ".join(map(str, others))
            )


def _digest(heard: bytes) -> np.ndarray:
    return np.frombuffer(hashlib.sha256(heard).digest(), np.uint8)
