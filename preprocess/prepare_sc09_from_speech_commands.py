"""Makes SC09 out of a copy of Speech Commands: its ten folders of digits and its two lists.

    python3 preprocess/prepare_sc09_from_speech_commands.py data/speech_commands_v0.01 data/sc09

The folders are links, unless ``--copy`` is given; the lists keep the lines of the digits. Nothing of the original is changed.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

if __package__ in (None, ""):
    import _root  # noqa: F401

from utility.audio.io import wavs_in
from utility.errors import DataError, program
from utility.experiment.texts import write_text
from utility.text.files import read_lines

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LISTS = ("validation_list.txt", "testing_list.txt")


def prepare(root: Path, out: Path, copy: bool = False) -> dict[str, int]:
    """Writes the folder; one that is there already is completed.

    Args:
        root: Speech Commands, any version.
        out: where to.
        copy: copy the recordings in place of linking the folders.

    Returns:
        the number of recordings of training, validation and testing.

    Raises:
        DataError: folders, lists, or recordings that these name are missing; ``out`` is the corpus itself, or holds something else under
            one of the names.
    """
    missing = [name for name in (*DIGITS, *LISTS) if not (root / name).exists()]
    if missing:
        raise DataError(f"{root} is no copy of Speech Commands: {', '.join(missing)} missing")
    if out.resolve() == root.resolve() or any(out.resolve().is_relative_to((root / digit).resolve()) for digit in DIGITS):
        raise DataError(f"{out} is part of the copy of Speech Commands, which stays as it is; choose another folder to write")
    files = {f"{digit}/{path.name}" for digit in DIGITS for path in wavs_in(root / digit)}
    lists = {name: _listed(root / name, files) for name in LISTS}
    out.mkdir(parents=True, exist_ok=True)
    for digit in DIGITS:
        _bring((root / digit).resolve(), out / digit, copy)
    for name, listed in lists.items():
        write_text(out / name, "".join(f"{line}\n" for line in listed))
    counts = {name.partition("_")[0]: len(listed) for name, listed in lists.items()}
    return {"training": len(files.difference(*lists.values())), **counts}


def _listed(path: Path, files: set[str]) -> list[str]:
    """The recordings of digits that a list names, each once; they must be among ``files``."""
    lines = (line.strip() for line in read_lines(path, "list"))
    listed = list(dict.fromkeys(line for line in lines if line.partition("/")[0] in DIGITS))
    if absent := [line for line in listed if line not in files]:
        raise DataError(f"{path} names {len(absent)} recordings that are not there, such as {absent[0]}")
    return listed


def _bring(folder: Path, place: Path, copy: bool) -> None:
    if place.is_symlink() and place.resolve() == folder and not copy:
        return
    if copy and (not place.exists() or place.is_dir()) and not place.is_symlink():
        _copy(folder, place)
    elif place.exists() or place.is_symlink():
        raise DataError(f"{place} exists already and is something else")
    else:
        place.symlink_to(folder, target_is_directory=True)


def _copy(folder: Path, place: Path) -> None:
    try:
        shutil.copytree(folder, place, dirs_exist_ok=True)
    except shutil.Error as error:  # of each file that could not be copied
        (source, _, why), *others = error.args[0]
        raise DataError(f"{source} cannot be copied to {place}: {why}" + (f" (and {len(others)} more)" if others else "")) from error


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="the folder of Speech Commands")
    parser.add_argument("out", type=Path, help="the folder to write")
    parser.add_argument("--copy", action="store_true", help="copy the recordings in place of linking their folders")
    args = parser.parse_args(argv)
    counts = prepare(args.root, args.out, args.copy)
    print(f"sc09: {', '.join(f'{count} {part}' for part, count in counts.items())} in {args.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
