"""SC09, the digits of Speech Commands: which recordings belong to which split (specs/audio-generation.md, 4 and 7).

Two layouts are read::

    <root>/<digit>/*.wav, <root>/validation_list.txt, <root>/testing_list.txt        the corpus of the generation models
    <root>/{train,valid,test}/<digit>/*.wav                                          the corpus of the public classifier

A copy of Speech Commands itself has the first layout; its other words are passed over.
"""

from __future__ import annotations

from pathlib import Path

from utility.audio.io import wavs_in
from utility.errors import DataError, did_you_mean
from utility.text.files import read_lines

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LABELS = {digit: label for label, digit in enumerate(DIGITS)}
LISTS = {"dev": "validation_list.txt", "test": "testing_list.txt"}
FOLDERS = {"train": "train", "dev": "valid", "test": "test"}
NOISES = "_background_noise_"
LISTS_HINT = "SC09 has it beside the folders of digits (preprocess/prepare_sc09_from_speech_commands.py)"


def sc09_files(root: str | Path, split: str, field: str) -> list[Path]:
    """The recordings of ``"train"``, ``"dev"`` (or ``"val"``) or ``"test"``, digit by digit, in the natural order of their names.

    Args:
        root: of either layout.
        split: which.
        field: the field of the config that errors name.

    Raises:
        DataError: the folder is missing, of neither layout, or has nothing for the split; a list or a listed recording is missing.
    """
    root, part = Path(root), "dev" if split == "val" else split
    if not root.is_dir():
        raise DataError(f"{field}: folder {root} does not exist; downstream/sc09_classifier/README.md says where to get it")
    folders = root / FOLDERS["train"]
    files = class_files(root / FOLDERS[part]) if folders.is_dir() else _listed(root, part, field)
    if not files:
        raise DataError(f"{field}: {root} has no recording of a digit for the split {split!r}")
    return files


def class_files(folder: Path) -> list[Path]:
    """The recordings of a folder that has one folder for each digit; those of other names are passed over."""
    return [path for digit in DIGITS for path in wavs_in(folder / digit)]


def noise_files(root: str | Path) -> list[Path]:
    """The recordings of background noise of either layout, none where there are none."""
    return wavs_in(Path(root) / NOISES) or wavs_in(Path(root) / FOLDERS["train"] / NOISES)


def _listed(root: Path, split: str, field: str) -> list[Path]:
    if not any((root / digit).is_dir() for digit in DIGITS):
        found = did_you_mean(DIGITS[0], [path.name for path in root.iterdir() if path.is_dir()])
        raise DataError(f"{field}: {root} has none of the folders zero ... nine, and no folder {FOLDERS['train']}{found}")
    lists = {name: _listed_digits(root / file, field) for name, file in LISTS.items()}
    present = {f"{path.parent.name}/{path.name}": path for path in class_files(root)}
    if split == "train":
        held_out = set().union(*lists.values())
        return [path for name, path in present.items() if name not in held_out]
    absent = [name for name in lists[split] if name not in present]
    if absent:
        raise DataError(f"{field}: {root / LISTS[split]} names {len(absent)} recordings that are not there, such as {absent[0]}")
    chosen = set(lists[split])
    return [path for name, path in present.items() if name in chosen]


def _listed_digits(file: Path, field: str) -> list[str]:
    """The recordings of digits, ``<digit>/<name>``, that a list names; a copy of Speech Commands lists its other words too."""
    names = (line.strip() for line in read_lines(file, "list", field, LISTS_HINT))
    return [name for name in names if name.split("/")[0] in LABELS]
