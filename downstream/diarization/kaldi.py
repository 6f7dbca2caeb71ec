"""Kaldi data folders: which recordings there are, where, how long, and who speaks when (spec: downstream-speaker.md 5.2).

wav.scp    recording path            (optional: without it, wav/<recording>.*)
reco2dur   recording seconds
segments   segment recording start end
utt2spk    segment speaker
"""

from __future__ import annotations

import io
import math
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from downstream.blocks.presence import missing_below
from utility.audio.io import AUDIO_EXTENSIONS, load_audio, resample
from utility.errors import DataError
from utility.text.files import lines_of

SLACK_S = 0.05  # what a segment may lie beyond the end of its recording: times are rounded


@dataclass
class Recording:
    """A recording with its turns.

    Args:
        name: its id.
        source: path of the audio, or a command that ends in ``|``.
        seconds: duration.
        turns: (n, 2) seconds.
        speaker: (n,) whose each turn is: an index into ``speakers``.
        speakers: names, sorted.
    """

    name: str
    source: str
    seconds: float
    turns: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    speaker: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    speakers: tuple[str, ...] = ()

    @property
    def by_speaker(self) -> dict[str, np.ndarray]:
        """The turns of each speaker, as the scorer wants them."""
        return {name: self.turns[self.speaker == index] for index, name in enumerate(self.speakers)}


def read_kaldi_folder(
    folder: str | Path, what: str = "Kaldi folder", pipes: bool = False, most_speakers: int | None = None
) -> list[Recording]:
    """All recordings of a folder, sorted by name; audio is not opened, but has to be there.

    Args:
        folder: the folder.
        what: what sentences call it, such as a field of the config.
        pipes: whether ``wav.scp`` may name commands, which are run by the shell.
        most_speakers: refuse recordings with more.

    Raises:
        DataError: a file or an entry of one is missing or wrong, audio is missing, a segment lies beyond the end of its recording, a
            command is not allowed.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{what}: folder {folder} does not exist; preprocess/prepare_diarization.py makes it")
    durations = _durations(folder / "reco2dur", what)
    sources = _sources(folder, what, pipes)
    turns: dict[str, list[tuple[float, float, str]]] = {}
    for recording, start, end, speaker in _segments(folder, what, durations):
        turns.setdefault(recording, []).append((start, end, speaker))
    if not turns:
        raise DataError(f"{what}: {folder / 'segments'} names no segment")
    _check_audio(folder, what, durations, sources)
    found = [_recording(name, sources[name], durations[name], turns.get(name, [])) for name in sorted(durations)]
    for recording in found:
        if most_speakers is not None and len(recording.speakers) > most_speakers:
            raise DataError(
                f"{what}: the recording {recording.name!r} of {folder} has {len(recording.speakers)} speakers, more than num_speakers "
                f"({most_speakers})"
            )
    return found


def _recording(name: str, source: str, seconds: float, turns: list[tuple[float, float, str]]) -> Recording:
    speakers = sorted({speaker for *_, speaker in turns})
    index = {speaker: number for number, speaker in enumerate(speakers)}
    times = np.array([(start, end) for start, end, _ in turns]).reshape(-1, 2)
    return Recording(name, source, seconds, times, np.array([index[speaker] for *_, speaker in turns], int), tuple(speakers))


def _rows(path: Path, what: str, fields: int, rest: bool = False) -> Iterator[tuple[int, list[str]]]:
    """Numbers and fields of the lines; the last field has the rest of the line if ``rest``."""
    if not path.is_file():
        raise DataError(f"{what}: there is no file {path}")
    for number, line in enumerate(lines_of(path, "file", what), 1):
        found = line.split(None, fields - 1) if rest else line.split()
        if not found:
            continue
        if len(found) != fields:
            raise DataError(f"{what}: line {number} of {path} has {len(found)} fields, not {fields}")
        yield number, [text.strip() for text in found]


def _number(text: str, number: int, path: Path, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise DataError(f"{what}: line {number} of {path} has {text!r} where a number of seconds belongs")
    return value


def _durations(path: Path, what: str) -> dict[str, float]:
    found = {}
    for number, (name, text) in _rows(path, what, 2):
        if "/" in name:
            raise DataError(f"{what}: line {number} of {path} names the recording {name!r}; an id is the name of a file, without '/'")
        found[name] = _number(text, number, path, what)
    if not found:
        raise DataError(f"{what}: {path} names no recording")
    return found


def _sources(folder: Path, what: str, pipes: bool) -> dict[str, str]:
    if not (folder / "wav.scp").is_file():
        found = {path.stem: str(path) for path in (folder / "wav").glob("*") if path.suffix.lower() in AUDIO_EXTENSIONS}
        if not found:
            raise DataError(f"{what}: {folder} has neither wav.scp nor audio in wav/")
        return found
    found = {}
    for number, (name, source) in _rows(folder / "wav.scp", what, 2, rest=True):
        if source == "-":
            raise DataError(f"{what}: line {number} of {folder / 'wav.scp'} reads standard input, which has nothing to say here")
        if source.endswith("|") and not pipes:
            raise DataError(
                f"{what}: line {number} of {folder / 'wav.scp'} is a command ({source[:60]}), not run unless datarc.allow_pipes is true"
            )
        found[name] = source
    return found


def _check_audio(folder: Path, what: str, durations: Iterable[str], sources: Mapping[str, str]) -> None:
    """Refuses recordings without audio, and audio that is not there; each folder of audio is listed once."""
    if unnamed := sorted(set(durations) - set(sources)):
        raise DataError(f"{what}: {len(unnamed)} recordings of {folder / 'reco2dur'} have no audio in wav.scp, {unnamed[0]!r} among them")
    files = [sources[name] for name in durations if not sources[name].endswith("|")]
    if missing := missing_below(".", files):
        which = missing[0] if Path(missing[0]).is_absolute() else f"{missing[0]} (below {Path.cwd()})"
        raise DataError(f"{what}: {folder} names {len(files)} audio files, {len(missing)} of which do not exist, such as {which}")


def _segments(folder: Path, what: str, durations: dict[str, float]) -> Iterator[tuple[str, float, float, str]]:
    """Recording, start, end and speaker of every segment."""
    speakers = {name: speaker for _, (name, speaker) in _rows(folder / "utt2spk", what, 2)}
    path = folder / "segments"
    for number, (name, recording, first, last) in _rows(path, what, 4):
        start, end = (_number(text, number, path, what) for text in (first, last))
        if recording not in durations:
            raise DataError(f"{what}: line {number} of {path} is about {recording!r}, which {folder / 'reco2dur'} does not have")
        if name not in speakers:
            raise DataError(f"{what}: {folder / 'utt2spk'} has no speaker for the segment {name!r} (line {number} of {path})")
        if end <= start:
            raise DataError(f"{what}: the segment {name!r} (line {number} of {path}) does not end after its start")
        if end > durations[recording] + SLACK_S:
            raise DataError(
                f"{what}: the segment {name!r} (line {number} of {path}) ends at {end:g} s, beyond the end of {recording!r}, "
                f"which has {durations[recording]:g} s"
            )
        yield recording, start, end, speakers[name]


def read_samples(recording: Recording, rate: int, start: int, samples: int) -> np.ndarray:
    """(samples,) float32 of a recording at ``rate``, counted from sample ``start``.

    Raises:
        DataError: the audio is missing, unreadable, or much shorter than ``reco2dur`` says.
    """
    try:
        if recording.source.endswith("|"):
            wav = _piped(recording, rate)[start : start + samples]
        else:
            wav = load_audio(recording.source, rate, start, samples)
    except DataError as error:
        raise DataError(f"recording {recording.name!r}: {error}") from error
    missing = samples - len(wav)
    if missing > SLACK_S * rate:
        ends = (start + len(wav)) / rate
        raise DataError(f"recording {recording.name!r}: {recording.source} ends after {ends:g} s, reco2dur says {recording.seconds:g} s")
    return np.pad(wav, (0, missing)) if missing else wav


def _piped(recording: Recording, rate: int) -> np.ndarray:
    """What a command writes to its standard output, as one channel; only called where the config allows it."""
    done = subprocess.run(recording.source[:-1], shell=True, capture_output=True)
    if done.returncode:
        raise DataError(f"the command {recording.source[:-1].strip()!r} ends with status {done.returncode}: {done.stderr[-200:]!r}")
    try:
        wav, own_rate = soundfile.read(io.BytesIO(done.stdout), dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise DataError(f"the command {recording.source[:-1].strip()!r} writes no audio: {error}") from error
    return resample(wav.mean(axis=1), own_rate, rate)
