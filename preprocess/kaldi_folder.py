"""Kaldi data folders of a diarization corpus (spec: downstream-speaker.md 5.1).

wav.scp    recording path            segments  segment recording start end
reco2dur   recording seconds         utt2spk   segment speaker
rttm       speaker turns             spk2utt   speaker segment segment ...
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class Turn(NamedTuple):
    """Somebody speaks.

    Args:
        start, end: seconds.
        speaker: who.
    """

    start: float
    end: float
    speaker: str

    @property
    def times(self) -> tuple[str, str]:
        """Start and end as they are written: in seconds, to the millisecond."""
        return f"{self.start:.3f}", f"{self.end:.3f}"


@dataclass(frozen=True)
class Recording:
    """A recording with its turns.

    Args:
        name: its id; no white space.
        path: of the audio file.
        seconds: its duration.
        turns: who speaks when.
    """

    name: str
    path: Path
    seconds: float
    turns: tuple[Turn, ...]


@dataclass(frozen=True)
class Written:
    """What a Kaldi folder has come to; as a text, what a program says of it.

    Args:
        segments: how many there are.
        dropped: turns that are none of them, since they end where they start when times are rounded to milliseconds.
    """

    segments: int
    dropped: int = 0

    def __str__(self) -> str:
        return f"{self.segments} segments" + f" (without {self.dropped} turns of less than a millisecond)" * bool(self.dropped)


def write_kaldi_folder(folder: Path, recordings: Iterable[Recording]) -> Written:
    """Writes the six files, sorted by recording and time; turns without a duration, which no reader takes, are left out."""
    recordings = sorted(recordings, key=lambda recording: recording.name)
    segments = [segment for recording in recordings for segment in _segments(recording)]
    speakers: dict[str, list[str]] = {}
    for name, _, turn in segments:
        speakers.setdefault(turn.speaker, []).append(name)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "wav.scp", (f"{r.name} {r.path}" for r in recordings))
    _write(folder / "reco2dur", (f"{r.name} {r.seconds:.5f}" for r in recordings))
    _write(folder / "segments", (f"{name} {recording} {' '.join(turn.times)}" for name, recording, turn in segments))
    _write(folder / "utt2spk", (f"{name} {turn.speaker}" for name, _, turn in segments))
    _write(folder / "spk2utt", (f"{speaker} {' '.join(names)}" for speaker, names in sorted(speakers.items())))
    _write(folder / "rttm", (_rttm(recording, turn) for _, recording, turn in segments))
    return Written(len(segments), sum(len(recording.turns) for recording in recordings) - len(segments))


def _segments(recording: Recording) -> Iterator[tuple[str, str, Turn]]:
    """Id, recording and turn of each segment; two turns with the same borders get different ids."""
    taken: set[str] = set()
    for turn in sorted(turn for turn in recording.turns if turn.times[0] != turn.times[1]):
        name = base = f"{recording.name}_{round(turn.start * 1000):06d}_{round(turn.end * 1000):06d}"
        number = 1
        while name in taken:
            number += 1
            name = f"{base}_{number}"
        taken.add(name)
        yield name, recording.name, turn


def _rttm(recording: str, turn: Turn) -> str:
    fields = ("SPEAKER", recording, "1", f"{turn.start:.3f}", f"{turn.end - turn.start:.3f}", "<NA>", "<NA>", turn.speaker, "<NA>")
    return "\t".join(fields)


def _write(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
