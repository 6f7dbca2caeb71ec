"""Reading and writing audio files: any format that libsndfile reads, any rate, any channel count.

Waveforms are 1-D float32 arrays; integer samples are scaled to [-1, 1), float files keep their values.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from utility.audio.windows import window_of
from utility.errors import DataError, did_you_mean
from utility.experiment.texts import write_whole
from utility.text.natural import natural

# The format that each suffix means when a file is written; reading looks at the content.
_FORMATS = {
    **dict.fromkeys((".aif", ".aifc", ".aiff"), "AIFF"),
    **dict.fromkeys((".au", ".snd"), "AU"),
    **dict.fromkeys((".oga", ".ogg", ".opus"), "OGG"),
    **dict.fromkeys((".nist", ".sph"), "NIST"),
    ".caf": "CAF",
    ".flac": "FLAC",
    ".mp3": "MP3",
    ".rf64": "RF64",
    ".voc": "VOC",
    ".w64": "W64",
    ".wav": "WAV",
}
AUDIO_EXTENSIONS = frozenset(_FORMATS)

# In these encodings a sample does not depend on the ones before it, so that a seek is exact; FLAC's subtypes are PCM_* too.
_SEEKABLE = frozenset({"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"})
# Samples that are numbers as they are.
_REAL = {"FLOAT": np.float32, "DOUBLE": np.float64}

# Writers to pipes, who cannot go back to the header, leave one of these as the size of a WAV's samples: 0, or from here on.
_STREAMED = 0x7FFFF000
_MOST_CHUNKS = 64  # before the samples; more is no WAV of this world


@dataclass(frozen=True)
class AudioInfo:
    """What the header of an audio file says.

    Args:
        frames: samples per channel.
        sample_rate: in Hz.
        channels: number of channels.
    """

    frames: int
    sample_rate: int
    channels: int

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return self.frames / self.sample_rate


def audio_info(path: str | Path) -> AudioInfo:
    """Length, rate and channels of an audio file, from its header alone.

    Raises:
        DataError: the file is missing, is no audio that libsndfile reads, or is a truncated WAV.
    """
    with opened(path) as file:
        return AudioInfo(file.frames, file.samplerate, file.channels)


def load_audio(path: str | Path, sample_rate: int | None = 16000, start: int = 0, frames: int | None = None) -> np.ndarray:
    """Reads an audio file as one channel at the wanted rate.

    ``load_audio(path, rate, start, frames)`` equals ``load_audio(path, rate)[start : start + frames]``: sample for sample at the file's
    rate, also where the file is compressed; to rounding (3e-6 of the loudest sample) where it is resampled. Of uncompressed files and FLAC
    only the part is read, with what the resampling's filter reaches on both sides, unless that is half of the file or more.

    Args:
        path: the file; several channels are averaged.
        sample_rate: rate of the result in Hz (soxr, high quality); None keeps the file's.
        start: first sample of the result, counted at the rate of the result.
        frames: the most samples to return; None reads to the end.

    Returns:
        (n,) float32, n > 0.

    Raises:
        DataError: the file is missing, unreadable, truncated, empty, holds NaN or infinity, or ends before ``start``.
    """
    if start < 0 or (frames is not None and frames < 1):
        raise ValueError(f"start must be >= 0 and frames >= 1, got {start} and {frames}")
    with opened(path) as file:
        same = sample_rate in (None, file.samplerate)
        wav = _read_part(file, start, frames) if same else _resampled_part(file, sample_rate, start, frames)
    if not len(wav) and start:
        raise DataError(f"audio file {path} ends before sample {start}")
    return sound(wav, path)


def load_channels(path: str | Path) -> tuple[np.ndarray, int]:
    """All channels of an audio file at its own rate: (n, channels) float32, n > 0, and the rate in Hz.

    Raises:
        DataError: as :func:`load_audio`.
    """
    with opened(path) as file:
        samples, rate = file.read(dtype="float32", always_2d=True), file.samplerate
    return sound(samples, path), rate


def sound(samples: np.ndarray, path: str | Path) -> np.ndarray:
    """The samples of a file, unless there are none or some are no numbers."""
    if not len(samples):
        raise DataError(f"audio file {path} holds no samples")
    if not np.isfinite(samples).all():
        raise DataError(f"audio file {path} holds NaN or infinite samples")
    return samples


def resample(wav: np.ndarray, source_rate: int, target_rate: int) -> np.ndarray:
    """Band-limited resampling (soxr, high quality, as ``librosa.load`` does by default).

    Args:
        wav: (n,) or (n, channels) floating point.
        source_rate: rate of ``wav`` in Hz.
        target_rate: wanted rate in Hz.

    Returns:
        (round(n * target_rate / source_rate),) or the same with channels; ``wav`` itself when the rates are equal.
    """
    if source_rate == target_rate or not len(wav):
        return wav
    return soxr.resample(wav, source_rate, target_rate, quality="HQ")


def save_audio(path: str | Path, wav: np.ndarray, sample_rate: int, subtype: str | None = None) -> None:
    """Writes a waveform; the suffix of ``path`` chooses the format, missing folders are made. Equal samples give equal WAV files. The file
    is there whole or not at all.

    Args:
        path: the file to write; an existing one is replaced, once the new one is whole.
        wav: (n,) or (n, channels) in [-1, 1]; what lies outside is clipped in integer formats.
        sample_rate: in Hz.
        subtype: libsndfile's name of the sample format such as ``"FLOAT"``; the format's usual one (16 bit for WAV and FLAC) by default.

    Raises:
        DataError: the suffix names no audio format, the samples are not finite, or the file cannot be written.
    """
    path, wav = Path(path), np.asarray(wav)
    if (suffix := path.suffix.lower()) not in _FORMATS:
        raise DataError(f"cannot write {path}: no audio format {path.suffix!r}{did_you_mean(path.suffix, sorted(AUDIO_EXTENSIONS))}")
    if not np.isfinite(wav).all():
        raise DataError(f"cannot write {path}: the waveform holds NaN or infinite samples")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        subtype = subtype or ("OPUS" if suffix == ".opus" else None)
        write_whole(path, lambda partial: _write(partial, wav, sample_rate, _FORMATS[suffix], subtype))
    except (soundfile.SoundFileError, OSError, ValueError) as error:
        raise DataError(f"cannot write {path}: {reason(error)}") from error


def _write(path: Path, wav: np.ndarray, sample_rate: int, kind: str, subtype: str | None) -> None:
    if kind == "WAV" and subtype in _REAL:
        from scipy.io import wavfile

        wavfile.write(path, sample_rate, wav.astype(_REAL[subtype]))  # libsndfile would write the time of day into the header
    else:
        soundfile.write(path, wav, sample_rate, subtype=subtype, format=kind)


def find_audio(folder: str | Path) -> list[Path]:
    """All audio files at any depth below a folder (by extension, hidden ones left out), sorted by path; linked folders are followed.

    Raises:
        DataError: ``folder`` is no folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder" if folder.exists() else f"folder {folder} does not exist")
    return sorted(path for path in _walk(folder) if path.suffix.lower() in AUDIO_EXTENSIONS and not path.name.startswith("."))


def wavs_in(folder: Path) -> list[Path]:
    """The wav files of a folder itself (hidden ones left out) in the natural order of their names; none where there is no such folder."""
    if not folder.is_dir():
        return []
    found = (path for path in folder.iterdir() if path.suffix.lower() == ".wav" and not path.name.startswith(".") and path.is_file())
    return sorted(found, key=lambda path: (natural(path.name), path.name))


def _walk(folder: Path) -> Iterator[Path]:
    """Every file below ``folder``; a linked folder that leads back to one already seen is entered once."""
    seen = set()
    for root, subfolders, files in os.walk(folder, followlinks=True):
        real = Path(root).resolve()
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        yield from (Path(root, name) for name in files)


@contextmanager
def opened(path: str | Path) -> Iterator[soundfile.SoundFile]:
    """The open file; whatever libsndfile dislikes while it is open becomes a DataError that names it."""
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is no regular file" if path.exists() else "does not exist"
        raise DataError(f"audio file {path} {what}")
    if path.stat().st_size == 0:
        raise DataError(f"audio file {path} is empty (0 bytes)")
    if path.suffix.lower() == ".raw":
        raise DataError(f"audio file {path} has no header that tells rate and sample format; convert it to WAV first")
    try:
        with soundfile.SoundFile(path) as file:
            if file.format.startswith("WAV"):
                _check_whole(path)
            yield file
    except soundfile.SoundFileError as error:
        raise DataError(f"audio file {path} cannot be read: {reason(error)}") from error


def _check_whole(path: Path) -> None:
    """Refuses a WAV that ends before its samples do, which libsndfile reads as a shorter one."""
    with path.open("rb") as file:
        order = "little" if file.read(12)[:4] == b"RIFF" else "big"
        for _ in range(_MOST_CHUNKS):
            head = file.read(8)
            size = int.from_bytes(head[4:], order)
            if head[:4] == b"data":
                left = path.stat().st_size - file.tell()
                if left < size < _STREAMED:
                    raise DataError(f"audio file {path} is truncated: its header promises {size} bytes of samples, it ends after {left}")
            if head[:4] == b"data" or len(head) < 8:
                return
            file.seek(size + size % 2, os.SEEK_CUR)


def _read_part(file: soundfile.SoundFile, start: int, frames: int | None) -> np.ndarray:
    """(n,) mean over channels of the file's samples from ``start`` on, at the file's rate."""
    exact = file.subtype in _SEEKABLE
    stop = file.frames if frames is None else min(file.frames, start + frames)
    if start >= stop:
        return np.zeros(0, np.float32)
    skip = 0 if exact else start
    if start > skip:
        file.seek(start - skip)
    wanted = stop - start + skip
    samples = file.read(wanted, dtype="float32", always_2d=True)
    if exact and len(samples) < wanted:
        raise DataError(
            f"audio file {file.name} is truncated: its header promises {file.frames} frames, it ends after {start + len(samples)}"
        )
    samples = samples[skip:]
    return samples[:, 0].copy() if samples.shape[1] == 1 else samples.mean(axis=1)


def _resampled_part(file: soundfile.SoundFile, rate: int, start: int, frames: int | None) -> np.ndarray:
    """(n,) part of the file at another rate; ``start`` and ``frames`` count at that one."""
    window = window_of(file.frames, file.samplerate, rate, start, frames) if file.subtype in _SEEKABLE else None
    if window is None:
        return resample(_read_part(file, 0, None), file.samplerate, rate)[start:][:frames]
    wav = np.pad(_read_part(file, window.first, window.count), (0, window.silence))
    return resample(wav, file.samplerate, rate)[window.skip :][: window.length]


def reason(error: Exception) -> str:
    """The words of libsndfile or of the system, without the path that they repeat."""
    words = getattr(error, "strerror", None) or getattr(error, "error_string", str(error))
    return words.rstrip(".")
