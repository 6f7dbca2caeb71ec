"""The identification split of VoxCeleb1, and where its recordings lie (spec: downstream-speaker.md 3).

    meta_data: lines "1|2|3 <speaker>/<video>/<utterance>.wav" = train, dev, test
    file_path/*/wav/<speaker>/<video>/<utterance>.wav

The folders ``dev`` and ``test`` of the corpus have nothing to do with this split: every folder is searched. Each folder of recordings is
listed once, and what was found is kept in the experiment's folder, for as long as no file comes to those folders or leaves them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from downstream.blocks.presence import names_in
from downstream.blocks.recordings import Recording
from utility.errors import DataError, did_you_mean
from utility.experiment.texts import write_text
from utility.text.files import naming, read_lines

log = logging.getLogger(__name__)

ROOT_FIELD, LIST_FIELD = (f"config.downstream_expert.datarc.{name}" for name in ("file_path", "meta_data"))
SPLITS = {"1": "train", "2": "dev", "3": "test"}
CACHE = "voxceleb1_files.json"
_HINT = "python3 preprocess/fetch_lists.py --only voxceleb1 fetches it to data/"
_MISSING = -1


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the list.

    Args:
        number: in the file.
        split: ``"train"``, ``"dev"`` or ``"test"``.
        path: ``<speaker>/<video>/<utterance>.wav``.
    """

    number: int
    split: str
    path: str

    @property
    def speaker(self) -> str:
        """The first folder of the path."""
        return self.path.partition("/")[0]

    @property
    def name(self) -> str:
        """``<speaker>-<video>-<utterance>``, as in the files of answers."""
        return self.path.rpartition(".")[0].replace("/", "-")


def read_list(path: str | Path) -> list[Line]:
    """The lines of the list in order; empty ones do not count.

    Raises:
        DataError: it is missing, has no line, or one of another form.
    """
    found = []
    for number, text in enumerate(read_lines(path, "list", LIST_FIELD, _HINT), 1):
        if not (columns := text.split(maxsplit=1)):
            continue
        code, file = columns[0], columns[-1].strip()
        if code not in SPLITS or len(parts := file.split("/")) != 3 or not all(parts) or ".." in parts:
            raise DataError(f"{naming(path, 'list', LIST_FIELD)}, line {number} is {text!r} and should be '1|2|3 <speaker>/<video>/<file>'")
        found.append(Line(number, SPLITS[code], file))
    if not found:
        raise DataError(f"{naming(path, 'list', LIST_FIELD)} has no line")
    return found


def speakers_of(lines: Sequence[Line], path: str | Path) -> list[str]:
    """The speakers of the training part by their names, which numbers the classes: 0 to 1250 for id10001 to id11251 of the official list.

    Raises:
        DataError: the list has no training part.
    """
    found = sorted({line.speaker for line in lines if line.split == "train"})
    if not found:
        raise DataError(f"{naming(path, 'list', LIST_FIELD)} has no line '1 <path>' to train on")
    return found


class Places:
    """Which folder of the corpus each line's recording lies in.

    Args:
        root: the corpus.
        folders: its folders, sorted.
        folder_of: for each line the number of its folder, -1 where it is in none.
    """

    def __init__(self, root: Path, folders: Sequence[str], folder_of: Sequence[int]):
        self.root, self.folders, self.folder_of = root, folders, folder_of

    @classmethod
    def found(cls, root: Path, lines: Sequence[Line]) -> Places:
        """Looks for every line's recording.

        Raises:
            DataError: the corpus is missing, or has no folder ``*/wav``.
        """
        folders = sorted(entry.name for entry in _entries(root) if Path(entry.path, "wav").is_dir()) if root.is_dir() else []
        if not folders:
            what = f"has no folder */wav, such as {root}/dev/wav" if root.is_dir() else "does not exist"
            raise DataError(f"{ROOT_FIELD}: folder {root} {what}; VoxCeleb1 is unpacked as {root}/{{dev,test}}/wav/<speaker>/<video>/")
        present = [{entry.name for entry in _entries(root / folder / "wav")} for folder in folders]
        listed: dict[tuple[int, str], frozenset[str]] = {}

        def holds(number: int, line: Line) -> bool:
            video, _, file = line.path.rpartition("/")
            if line.speaker not in present[number]:
                return False
            if (number, video) not in listed:
                listed[number, video] = names_in(root / folders[number] / "wav" / video)
            return file in listed[number, video]

        numbers = range(len(folders))
        return cls(root, folders, [next((number for number in numbers if holds(number, line)), _MISSING) for line in lines])

    @property
    def missing(self) -> bool:
        """Whether a recording is nowhere."""
        return _MISSING in self.folder_of

    def state(self, lines: Sequence[Line]) -> str:
        """A digest of when a file last came to, or left, each of the folders that the recordings lie in; folders that are gone count."""
        found = zip(self.folder_of, lines, strict=True)
        places = dict.fromkeys(f"{self.folders[number]}/wav/{line.path.rpartition('/')[0]}" for number, line in found)
        changes = "".join(f"{place} {_changed(self.root / place)}\n" for place in places)
        return hashlib.sha256(changes.encode()).hexdigest()

    def recordings(self, lines: Sequence[Line], split: str, speakers: Sequence[str], path: str | Path) -> list[Recording]:
        """The items of a split.

        Args:
            lines: of the whole list.
            split: ``"train"``, ``"dev"`` or ``"test"``.
            speakers: the classes, in the order of the outputs.
            path: the list, for errors.

        Raises:
            DataError: the split has no line, a recording is missing, or a speaker is none of the classes.
        """
        name = naming(path, "list", LIST_FIELD)
        chosen = [(line, folder) for line, folder in zip(lines, self.folder_of, strict=True) if line.split == split]
        if not chosen:
            raise DataError(f"{name} has no line for {split}")
        known = {speaker: number for number, speaker in enumerate(speakers)}
        if strangers := [line for line, _ in chosen if line.speaker not in known]:
            first = strangers[0]
            guess = did_you_mean(first.speaker, speakers, most=3)
            raise DataError(f"{name}, line {first.number}: speaker {first.speaker} of {split} is not among those of train{guess}")
        if missing := [line.path for line, folder in chosen if folder == _MISSING]:
            count = f"{len(missing)} of {len(chosen)} recordings for {split}"
            raise DataError(f"{name} names {count} that are not in {self.root}/*/wav, such as {missing[0]}")
        return [Recording(f"{self.root}/{self.folders[folder]}/wav/{line.path}", known[line.speaker], line.name) for line, folder in chosen]


def places_of(root: str | Path, path: str | Path, lines: Sequence[Line], folder: Path) -> Places:
    """Where the recordings lie: as an earlier look at this corpus for this list found out, if its folders are unchanged, or a new one.

    What is found is kept in ``folder/voxceleb1_files.json``, if nothing is missing.

    Args:
        root: the corpus.
        path: the list.
        lines: its lines.
        folder: of the experiment.
    """
    key = {"root": str(Path(root).resolve()), "list": hashlib.sha256(Path(path).read_bytes()).hexdigest()}
    kept = _kept(folder / CACHE)
    if {name: kept.get(name) for name in key} == key and len(kept.get("folder_of", ())) == len(lines):
        places = Places(Path(root), kept["folders"], kept["folder_of"])
        if places.state(lines) == kept.get("state"):
            return places
    places = Places.found(Path(root), lines)
    if not places.missing:
        folder.mkdir(parents=True, exist_ok=True)
        found = {"state": places.state(lines), "folders": places.folders, "folder_of": places.folder_of}
        write_text(folder / CACHE, json.dumps({**key, **found}))
    return places


def _kept(path: Path) -> Mapping:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        log.warning("%s is not used: %s", path, error)
        return {}
    return content if isinstance(content, dict) else {}


def _changed(folder: Path) -> int | None:
    """When a file last came or went, in nanoseconds; None if the folder cannot be asked."""
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return None


def _entries(folder: Path) -> list[os.DirEntry]:
    with os.scandir(folder) as entries:
        return [entry for entry in entries if not entry.name.startswith(".")]
