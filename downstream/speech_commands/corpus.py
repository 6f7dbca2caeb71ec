"""Which files belong to which split of Speech Commands, and what they are called (spec: downstream-content.md 4).

Both versions have this layout::

    <root>/<word>/<speaker>_nohash_<take>.wav        30 words in v0.01, 35 in v0.02
    <root>/_background_noise_/<name>.wav             long recordings, the source of the class _silence_
    <test root>/<class>/<name>.wav                   the twelve classes, each a folder
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from utility.audio.io import audio_info
from utility.errors import DataError, did_you_mean

log = logging.getLogger(__name__)

UNKNOWN, SILENCE, NOISES = "_unknown_", "_silence_", "_background_noise_"
CLASSES = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", UNKNOWN, SILENCE)
LABELS = {name: label for label, name in enumerate(CLASSES)}


@dataclass(frozen=True, slots=True)
class Clip:
    """One item of a split.

    Args:
        path: the audio file.
        label: index into ``CLASSES``.
        second: the whole file if None; one second of it from here on; a random second for -1.
    """

    path: str
    label: int
    second: int | None = None

    @property
    def name(self) -> str:
        """``<folder>-<file>``, as in the prediction files."""
        path = Path(self.path)
        return f"{path.parent.name}-{path.name}"


RANDOM = -1


@cache
def percentage(speaker: str) -> float:
    """Where the corpus's hash puts a speaker, 0 to 100."""
    return int(hashlib.sha1(speaker.encode()).hexdigest(), 16) % 2**27 * (100 / (2**27 - 1))


def part_of(file: str) -> str:
    """``"valid"``, ``"test"`` or ``"train"``: all takes of a speaker go the same way.

    Args:
        file: the name of the file; what follows the first ``_nohash_`` does not count.
    """
    place = percentage(re.sub(r"_nohash_.*$", "", file))
    return "valid" if place < 10 else "test" if place < 20 else "train"


def development_clips(root: str | Path, part: str, exhaustive: bool = False) -> list[Clip]:
    """The clips of ``"train"`` or ``"valid"``, in the order of their paths.

    Words outside the ten keywords are ``_unknown_``. Each recording of noise is one clip of ``_silence_`` in both parts, a random second
    whenever it is read; with ``exhaustive`` each whole second of it is a clip of its own.

    Raises:
        DataError: the folder is missing, or has no such clips.
    """
    field = "speech_commands_root"
    clips = []
    for word, file, path in _wav_files(_existing(root, field)):
        if word == NOISES:
            clip = Clip(path, LABELS[SILENCE], RANDOM)
            clips += [replace(clip, second=second) for second in range(_seconds(path))] if exhaustive else [clip]
        elif part_of(file) == part:
            clips.append(Clip(path, LABELS.get(word, LABELS[UNKNOWN])))
    return _some(clips, root, field, f"no clip of the {part} part as <word>/<speaker>_nohash_<take>.wav", lambda clip: clip.second is None)


def archive_clips(root: str | Path) -> list[Clip]:
    """The clips of the test archive, in the order of their paths.

    Raises:
        DataError: the folder is missing or empty, or has a folder that is none of the twelve classes.
    """
    field = "speech_commands_test_root"
    clips = []
    for name, _, path in _wav_files(_existing(root, field)):
        if name not in LABELS:
            raise DataError(
                f"{_field(field)}: {Path(root) / name} is none of the 12 classes{did_you_mean(name, CLASSES)}; "
                "it must be the unpacked test archive, not the corpus itself"
            )
        clips.append(Clip(path, LABELS[name]))
    return _some(clips, root, field, "no clip as <class>/<name>.wav")


def check_classes(clips: list[Clip], split: str, root: str | Path) -> None:
    """Warns of classes without a clip, as in a corpus that was unpacked in part.

    Raises:
        DataError: a corpus without background noise, of which the class of silence is made.
    """
    found = {clip.label for clip in clips}
    missing = [name for name in CLASSES if LABELS[name] not in found]
    if SILENCE in missing and split != "test":
        raise DataError(f"{_field('speech_commands_root')}: {root} has no {NOISES}/*.wav, of which the class {SILENCE} is made")
    if missing:
        log.warning("%s: the split %s has no clip of %s; its score cannot be compared with others'", root, split, ", ".join(missing))


def _field(name: str) -> str:
    return f"config.downstream_expert.datarc.{name}"


def _existing(root: str | Path, field: str) -> Path:
    if not Path(root).is_dir():
        raise DataError(f"{_field(field)}: folder {root} does not exist; downstream/speech_commands/README.md says where to get it")
    return Path(root)


def _some(clips: list[Clip], root: str | Path, field: str, missing: str, counts: Callable[[Clip], bool] = bool) -> list[Clip]:
    if not any(counts(clip) for clip in clips):
        raise DataError(f"{_field(field)}: {root} has {missing}")
    return clips


def _wav_files(root: Path) -> Iterator[tuple[str, str, str]]:
    """(folder, file, path) of every wav file one level below ``root``, sorted; hidden ones are left out."""
    for folder in _sorted_entries(root):
        if folder.is_dir():
            for entry in _sorted_entries(folder.path):
                if entry.name.lower().endswith(".wav"):
                    yield folder.name, entry.name, entry.path


def _sorted_entries(folder: str | Path) -> list[os.DirEntry]:
    with os.scandir(folder) as entries:
        return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)


def _seconds(path: str) -> int:
    """Whole seconds of a recording, at least one."""
    return max(1, int(audio_info(path).seconds))
