"""Writes the length of every utterance of a corpus, from which the ASR and phone tasks form batches of like lengths.

    python3 preprocess/generate_len_for_bucket.py -i /path/LibriSpeech -o data/librispeech -a .flac --n_jobs 12
    python3 preprocess/generate_len_for_bucket.py --data_root /path/LibriSpeech --output_path ./data/

One file ``<output_path>/<name>/<split>.csv`` a split (specs/downstream-content.md, section 0): header ``,file_path,length,label``, running
index, path below the corpus, length in samples, no label; longest first. The splits are the folders of LibriSpeech, Libri-Light or TIMIT
that are there, else every folder that holds audio. ``--splits`` chooses among them; a terminal is asked, nothing else is.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

if __package__ in (None, ""):
    import _root  # noqa: F401

from utility.audio.io import AUDIO_EXTENSIONS, audio_info, find_audio
from utility.errors import DataError, UnknownNameError, UsageError, program

KNOWN_SPLITS = (
    ("train-clean-100", "train-clean-360", "train-other-500", "dev-clean", "dev-other", "test-clean", "test-other"),
    ("small", "medium", "large", "small-splitted", "medium-splitted", "large-splitted"),
    ("TRAIN", "TEST"),
)


def find_splits(root: Path) -> list[str]:
    """The splits of a corpus: those of the known corpus that it has most of, in that corpus' order; else all its folders.

    Raises:
        DataError: ``root`` is no folder, or holds none.
    """
    if not root.is_dir():
        raise DataError(f"there is no corpus folder {root}")
    folders = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not folders:
        raise DataError(f"the corpus folder {root} holds no folder, hence no split")
    known = max(([name for name in names if name in folders] for names in KNOWN_SPLITS), key=len)
    return known or folders


def choose_splits(present: list[str], wanted: list[str] | None) -> list[str]:
    """The splits to work on: the wanted ones, else those typed at the terminal, else all that are present.

    Raises:
        UnknownNameError: a wanted split is not there.
    """
    if wanted is None:
        wanted = _ask(present) if sys.stdin is not None and sys.stdin.isatty() else present
    for name in wanted:
        if name not in present:
            raise UnknownNameError("split", name, present)
    return wanted


def _ask(present: list[str]) -> list[str]:
    for index, name in enumerate(present):
        print(f"{index}. {name}", file=sys.stderr)
    print("Numbers of the splits, separated by spaces (Enter: all): ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline().split()
    if bad := [word for word in answer if not word.isdecimal() or int(word) >= len(present)]:
        raise UsageError(f"{bad[0]!r} is not a number from 0 to {len(present) - 1}")
    return [present[int(word)] for word in answer] or present


def measure(root: Path, split: str, extension: str, jobs: int) -> list[tuple[str, int]]:
    """Paths below ``root`` and lengths in samples of one split's utterances, longest first, equal lengths by path.

    Raises:
        DataError: the split holds no such file, or one of them is not audio.
    """
    found = find_audio(root / split)
    files = [path for path in found if path.suffix.lower() == extension]
    if not files:
        others = ", ".join(f"{count} {suffix}" for suffix, count in Counter(path.suffix for path in found).most_common())
        raise DataError(f"no {extension} files below {root / split}" + (f", but {others} (see -a)" if others else ""))
    with ThreadPoolExecutor(jobs) as pool:
        infos = tqdm(pool.map(audio_info, files), desc=split, total=len(files), unit="file", file=sys.stderr)
        lengths = [info.frames for info in infos]
    names = [path.relative_to(root).as_posix() for path in files]
    return sorted(zip(names, lengths, strict=True), key=lambda row: (-row[1], row[0]))


def write_table(path: Path, rows: list[tuple[str, int]]) -> None:
    """Writes one split's table; an existing one is replaced only when the new one is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["", "file_path", "length", "label"])
        writer.writerows([index, name, length, ""] for index, (name, length) in enumerate(rows))
    temporary.replace(path)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="write the lengths of a corpus' utterances, for bucketing", allow_abbrev=False)
    parser.add_argument("-i", "--input_data", "--data_root", type=Path, default=Path("../LibriSpeech/"), help="folder of the corpus")
    parser.add_argument("-o", "--output_path", type=Path, default=Path("./data/"), help="folder to write to (default: ./data/)")
    parser.add_argument("-a", "--audio_extension", "--audio_extention", default=".flac", help="of the audio files (default: .flac)")
    parser.add_argument("-n", "--name", default="len_for_bucket", help="sub-folder of the output (default: len_for_bucket)")
    parser.add_argument("--n_jobs", type=int, default=-1, help="files read at once; -1: as many as there are cores")
    parser.add_argument("--splits", nargs="+", metavar="SPLIT", help="the splits to measure, without asking")
    return parser.parse_args(argv)


def _extension(text: str) -> str:
    extension = "." + text.lower().lstrip(".")
    if extension not in AUDIO_EXTENSIONS:
        raise UnknownNameError("audio extension", text, AUDIO_EXTENSIONS)
    return extension


def run(args: argparse.Namespace) -> None:
    """Measures the chosen splits and prints the path of each table."""
    extension = _extension(args.audio_extension)
    if args.n_jobs == 0 or args.n_jobs < -1:
        raise UsageError(f"--n_jobs must be at least 1, or -1 for all cores, not {args.n_jobs}")
    jobs = args.n_jobs if args.n_jobs > 0 else os.cpu_count() or 1
    for split in choose_splits(find_splits(args.input_data), args.splits):
        path = args.output_path / args.name / f"{split}.csv"
        rows = measure(args.input_data, split, extension, jobs)
        try:
            write_table(path, rows)
        except OSError as error:
            raise DataError(f"cannot write {path}: {error.strerror}") from error
        print(path)


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    args = _arguments(argv)
    run(args)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
