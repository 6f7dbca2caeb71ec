"""Recordings of noisy speech and of the same speech without noise, paired: two folders of audio, or two Kaldi lists."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from downstream.blocks.presence import missing_below, names_in
from utility.audio.io import AUDIO_EXTENSIONS
from utility.errors import DataError
from utility.text.files import lines_of, naming

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PairedFiles:
    """One utterance.

    Args:
        name: of the noisy file, without its extension; of a Kaldi list, the id.
        noisy, clean: paths of audio files of any rate.
    """

    name: str
    noisy: str
    clean: str


def pair_folders(noisy: str | Path, clean: str | Path, extension: str | None = None) -> list[PairedFiles]:
    """The recordings of two folders (not of folders within them), sorted by name.

    Files of equal name belong together. Where no name is in both folders, files belong together by their sorted order, which is announced.

    Args:
        noisy, clean: the folders.
        extension: such as ``".wav"``; by default the one that all audio files of the folders have.

    Raises:
        DataError: a folder is missing, empty or of several formats, both are the same, or something is left over in one of them.
    """
    if Path(noisy).resolve() == Path(clean).resolve():
        raise DataError(f"noisy and clean recordings are both to come from {noisy}: they need a folder each")
    if extension and not extension.startswith("."):
        extension = f".{extension}"
    listed = [_stems(Path(folder), extension) for folder in (noisy, clean)]
    names = _matched(*listed, Path(noisy), Path(clean))
    return [PairedFiles(one, str(listed[0][one]), str(listed[1][other])) for one, other in names]


def pair_lists(noisy: str | Path, clean: str | Path) -> list[PairedFiles]:
    """The recordings of two Kaldi lists (``wav.scp``: ``id path``), sorted by id; ids have to be the same in both.

    Raises:
        DataError: a list is missing, empty or damaged, names a command or audio that does not exist, or something is left over in one.
    """
    listed = [_read_scp(Path(path)) for path in (noisy, clean)]
    if left := _left_over(*listed, str(noisy), str(clean)):
        raise DataError(left)
    return [PairedFiles(name, listed[0][name], listed[1][name]) for name in sorted(listed[0])]


def _stems(folder: Path, extension: str | None) -> dict[str, Path]:
    """Name without extension -> path, sorted."""
    if not folder.is_dir():
        raise DataError(f"folder {folder} does not exist" if not folder.exists() else f"{folder} is not a folder")
    names = sorted(name for name in names_in(folder) if not name.startswith("."))
    kinds = Counter(Path(name).suffix.lower() for name in names if Path(name).suffix.lower() in AUDIO_EXTENSIONS)
    if len(kinds) > 1:
        counts = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        raise DataError(f"folder {folder} holds audio of several formats ({counts}); one folder has one format")
    wanted = extension or next(iter(kinds), ".wav")
    found = {name[: -len(wanted)]: folder / name for name in names if name.lower().endswith(wanted.lower())}
    if not found:
        there = f"; its audio files end in {next(iter(kinds))}" if kinds else ""
        raise DataError(f"folder {folder} holds no file that ends in {wanted}{there}")
    return found


def _matched(noisy: Mapping[str, Path], clean: Mapping[str, Path], noisy_folder: Path, clean_folder: Path) -> Iterable[tuple[str, str]]:
    if noisy.keys() & clean.keys():
        if left := _left_over(noisy, clean, str(noisy_folder), str(clean_folder)):
            raise DataError(left)
        return [(name, name) for name in noisy]
    if len(noisy) != len(clean):
        raise DataError(f"{noisy_folder} holds {len(noisy)} files and {clean_folder} {len(clean)}, and no name is in both")
    log.warning("no file name is in both %s and %s: they are paired by their sorted order", noisy_folder, clean_folder)
    return list(zip(noisy, clean, strict=True))


def _left_over(noisy: Iterable[str], clean: Iterable[str], noisy_place: str, clean_place: str) -> str:
    """What is only in one of the two, as a sentence; nothing if all is paired."""
    sides = [(noisy_place, set(noisy) - set(clean)), (clean_place, set(clean) - set(noisy))]
    said = [f"{len(left)} of {place} (such as {min(left)})" for place, left in sides if left]
    return f"noisy and clean recordings do not pair: {' and '.join(said)} have no counterpart" if said else ""


def _read_scp(path: Path) -> dict[str, str]:
    """Id -> path of the audio, which exists."""
    found: dict[str, str] = {}
    for number, line in enumerate(lines_of(path, "list"), 1):
        name, _, source = line.strip().partition(" ")
        source = source.strip()
        if not name:
            continue
        if not source or source.endswith("|"):
            what = "is a command, which is not run" if source else "names no file"
            raise DataError(f"{naming(path, 'list')}: line {number} ({line.strip()[:60]}) {what}")
        if name in found:
            raise DataError(f"{naming(path, 'list')}: line {number} names {name!r} a second time")
        found[name] = source
    if not found:
        raise DataError(f"{naming(path, 'list')} names no recording")
    _refuse_missing(path, list(found.values()))
    return found


def _refuse_missing(path: Path, files: Sequence[str]) -> None:
    if missing := missing_below(".", files):
        raise DataError(f"{naming(path, 'list')} names {len(files)} recordings, {len(missing)} of which do not exist, such as {missing[0]}")
