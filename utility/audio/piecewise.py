"""Audio files read, resampled and written piece by piece, so that hours of sound are never in memory at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile
import soxr

from utility.audio.io import opened, reason, sound
from utility.errors import DataError

Write = Callable[[np.ndarray], None]


def read_pieces(path: str | Path, frames: int) -> Iterator[np.ndarray]:
    """The samples of a file in order, all channels at its own rate: (n, channels) float32, 0 < n <= frames.

    Raises:
        DataError: as :func:`~utility.audio.io.load_channels`, when the piece that it concerns is read.
    """
    with opened(path) as file:
        piece = sound(file.read(frames, dtype="float32", always_2d=True), path)
        while len(piece):
            yield piece
            piece = file.read(frames, dtype="float32", always_2d=True)
            if len(piece):
                sound(piece, path)


@contextmanager
def wav_writer(path: Path, sample_rate: int, channels: int) -> Iterator[Write]:
    """A function that appends (n, channels) samples in [-1, 1] to a WAV of 16 bits; under its name it is there when all are written.

    Raises:
        DataError: it cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with soundfile.SoundFile(part, "w", sample_rate, channels, "PCM_16", format="WAV") as file:
            yield file.write
        part.replace(path)
    except (soundfile.SoundFileError, OSError) as error:
        raise DataError(f"cannot write {path}: {reason(error)}") from error
    finally:
        if part.parent.is_dir():
            part.unlink(missing_ok=True)


class Resampler:
    """:func:`~utility.audio.io.resample` of one channel that comes in pieces; all pieces together are the very same samples.

    Args:
        source_rate, target_rate: in Hz.
    """

    def __init__(self, source_rate: int, target_rate: int):
        same = source_rate == target_rate
        self._stream = None if same else soxr.ResampleStream(source_rate, target_rate, 1, dtype="float32", quality="HQ")

    def feed(self, samples: np.ndarray, last: bool = False) -> np.ndarray:
        """(n,) float32 -> (m,) what has become known; ``last``: nothing comes any more."""
        if self._stream is None:
            return samples
        return self._stream.resample_chunk(np.ascontiguousarray(samples, np.float32), last=last)
