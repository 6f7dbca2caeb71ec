"""Audio SNIPS as the slot filling task reads it, from the published annotation and mp3 files (spec: downstream-content.md 6).

    python3 preprocess/snips_preprocess.py text REPOSITORY SNIPS      transcripts with slots, list of slots
    python3 preprocess/snips_preprocess.py audio audio_slu SNIPS      mp3 -> 16 kHz wav
    python3 preprocess/snips_preprocess.py all FOLDER                 both, and before them the downloads (snips_prepare_data.sh)

What is there already is left alone, so that an interrupted run is continued by the same command; with the repository and the archive (or
the unpacked ``audio_slu``) in the folder nothing is downloaded.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from tqdm import tqdm

if __package__ in (None, ""):
    import _root  # noqa: F401

from preprocess.snips_text_norm import normalised
from utility.errors import DataError, program
from utility.experiment.download import download
from utility.text.files import lines_of

REPOSITORY = "aws-lex-noisy-spoken-language-understanding"
REPOSITORY_URL = f"https://github.com/aws-samples/{REPOSITORY}.git"
ARCHIVE = "audio_slu_v3.zip"
ARCHIVE_URL = f"https://shangwel-asr-evaluation.s3-us-west-2.amazonaws.com/{ARCHIVE}"
AUDIO, CORPUS = "audio_slu", "SNIPS"
COMMANDS, TRANSCRIPTS, SLOT_LIST = "all.iob.snips.txt", "all-trans.txt", "slots.txt"
SPLITS = ("test", "valid", "train")
SPEAKERS = (
    *("Aditi", "Amy", "Brian", "Emma", "Geraint", "Ivy", "Joanna", "Joey"),
    *("Justin", "Kendra", "Kimberly", "Matthew", "Nicole", "Raveena", "Russell", "Salli"),
)
# Of the whole corpus: slot types with O, intents.
LABELS, INTENTS = 40, 7
SAMPLE_RATE = 16000
_FAILURES_SHOWN = 5


def annotation(path: Path, own_spelling: bool = False) -> Iterator[tuple[str, list[str], list[str], str]]:
    """Id, spoken words, a slot per word and intent of each sentence of one split's table.

    Raises:
        DataError: the table is missing, or a line of it is not what it should be.
    """
    rows = csv.reader(lines_of(path, "annotation"), delimiter="\t", quoting=csv.QUOTE_NONE)
    next(rows, None)
    for number, row in enumerate(rows, 2):
        if len(row) != 4:
            raise DataError(f"{path}, line {number}: {len(row)} columns instead of 4 (id, text, slots, intent)")
        name, text, labels, intent = row
        try:
            words, slots = normalised(text, [label.rpartition("/")[2] for label in labels.split()], own_spelling)
        except DataError as error:
            raise DataError(f"{path}, line {number}: {error}") from error
        yield name, words, slots, intent


def prepare_text(repository: Path, out: Path, own_spelling: bool = False) -> bool:
    """Writes transcripts with slots and without, and the list of slots; all sentences by all speakers.

    Returns:
        False where they are there already.

    Raises:
        DataError: an annotation is missing or broken.
    """
    if (out / COMMANDS).is_file():
        return False
    tables = {split: list(annotation(repository / "data" / "nlu_annotation" / split, own_spelling)) for split in SPLITS}
    said = [(f"{voice}-{name}", *rest) for split in SPLITS for voice in SPEAKERS for name, *rest in tables[split]]
    out.mkdir(parents=True, exist_ok=True)
    counts = Counter(slot for rows in tables.values() for _, _, slots, _ in rows for slot in slots)
    counts.pop("O", None)
    slots = ["O", *sorted(counts, key=lambda slot: (-counts[slot], slot))]
    _report(slots, {intent for rows in tables.values() for *_, intent in rows})
    (out / SLOT_LIST).write_text("\n".join(slots), encoding="utf-8")
    _write(out / TRANSCRIPTS, (f"{name} {' '.join(words).upper()}\n" for name, words, _, _ in said))
    lines = (f"{name} BOS {' '.join(words).upper()} EOS\tO {' '.join(slots)} {intent}\n" for name, words, slots, intent in said)
    _write(out / COMMANDS, lines)  # last: its presence says that all is there
    return True


def _report(slots: list[str], intents: set[str]) -> None:
    if (len(slots), len(intents)) != (LABELS, INTENTS):
        print(f"{len(slots)} slot labels and {len(intents)} intents; the whole corpus has {LABELS} and {INTENTS}", file=sys.stderr)


def _write(path: Path, lines: Iterator[str]) -> None:
    """Writes a file that is either whole or not there."""
    draft = path.with_name(f"{path.name}.part")
    with draft.open("w", encoding="utf-8") as file:
        file.writelines(lines)
    draft.replace(path)


def recordings(folder: Path) -> Iterator[tuple[Path, str]]:
    """Each mp3 below ``audio_<Speaker>`` folders, with its name in the corpus: ``<split>/<Speaker>-snips-<split>-<n>.wav``.

    Raises:
        DataError: no such folder.
    """
    if not folder.is_dir():
        raise DataError(f"folder {folder} does not exist; it is what {ARCHIVE} unpacks to")
    for path in sorted(folder.rglob("*.mp3")):
        voice = next((part.removeprefix("audio_") for part in path.parent.parts[::-1] if part.startswith("audio_")), "")
        if (match := re.search(r"(train|valid|test)-(\d+)$", path.stem)) and voice in SPEAKERS:
            yield path, f"{match[1]}/{voice}-snips-{match[1]}-{match[2]}.wav"


def convert(source_and_name: tuple[Path, str], out: Path) -> str | None:
    """Writes one recording as 16 kHz mono wav of 16 bit, unless it is there; returns what is wrong with a recording that cannot be read."""
    from utility.audio.io import load_audio, save_audio

    source, name = source_and_name
    target = out / name
    if target.is_file():
        return None
    try:
        save_audio(target, load_audio(source, SAMPLE_RATE), SAMPLE_RATE)
    except DataError as error:
        return str(error)
    return None


def prepare_audio(folder: Path, out: Path, jobs: int) -> int:
    """Converts what is not there yet; returns how many recordings could not be read (each of the first few is named on stderr).

    Raises:
        DataError: there are no recordings, or none of them can be read.
    """
    found = list(recordings(folder))
    if not found:
        raise DataError(f"no mp3 file of a known speaker below {folder}; expected audio_<Speaker>/snips/snips-<split>-<n>.mp3")
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        results = pool.map(partial(convert, out=out), found, chunksize=16)
        faults = [fault for fault in tqdm(results, desc="mp3 to wav", total=len(found), unit="file") if fault]
    for fault in faults[:_FAILURES_SHOWN]:
        print(fault, file=sys.stderr)
    if len(faults) == len(found):
        raise DataError(f"none of the {len(found)} mp3 files below {folder} can be read")
    if faults:
        print(f"{len(faults)} of {len(found)} recordings cannot be read and are left out", file=sys.stderr)
    return len(faults)


def get_annotation(folder: Path) -> Path:
    """The annotation's repository in a folder; cloned where it is missing.

    Raises:
        DataError: it cannot be had.
    """
    target = folder / REPOSITORY
    if not target.is_dir():
        try:
            done = subprocess.run(["git", "clone", "--depth", "1", REPOSITORY_URL, str(target)], capture_output=True, text=True)
        except FileNotFoundError:
            raise DataError(f"{target} is missing and git, which would fetch it, is not installed") from None
        if done.returncode:
            shutil.rmtree(target, ignore_errors=True)
            raise DataError(f"cannot clone {REPOSITORY_URL}: {(done.stderr.strip().splitlines() or ['git failed'])[-1]}")
    return target


def get_recordings(folder: Path) -> Path:
    """The folder of mp3 files; unpacked from the archive, which is downloaded, where they are missing.

    Raises:
        DataError: they cannot be had.
    """
    target = folder / AUDIO
    if not target.is_dir():
        archive, draft = download(ARCHIVE_URL, folder / ARCHIVE), folder / f"{AUDIO}.part"
        shutil.rmtree(draft, ignore_errors=True)
        try:
            with zipfile.ZipFile(archive) as packed:
                packed.extractall(draft)
        except (zipfile.BadZipFile, OSError) as error:
            raise DataError(f"cannot unpack {archive}: {error}") from error
        (draft / AUDIO if (draft / AUDIO).is_dir() else draft).rename(target)
        shutil.rmtree(draft, ignore_errors=True)
    return target


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="prepare Audio SNIPS for slot filling", allow_abbrev=False)
    modes = parser.add_subparsers(dest="mode", required=True)
    for mode, what, places in (
        ("text", "transcripts and slots", ("repository", "out")),
        ("audio", "mp3 to wav", ("audio", "out")),
        ("all", "downloads what is missing, then both", ("folder",)),
    ):
        own = modes.add_parser(mode, help=what)
        for place in places:
            own.add_argument(place, type=Path)
        if mode != "audio":
            own.add_argument("--own-spelling", action="store_true", help="without the slips of the published text (snips_text_norm.py)")
        if mode != "text":
            own.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one per core)")
    return parser.parse_args(argv)


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    args = _arguments(argv)
    out = args.folder / CORPUS if args.mode == "all" else args.out
    if args.mode == "all":
        args.folder.mkdir(parents=True, exist_ok=True)
    if args.mode != "audio":
        if (out / COMMANDS).is_file():
            print(f"{out / COMMANDS} is there already", file=sys.stderr)
        else:
            prepare_text(get_annotation(args.folder) if args.mode == "all" else args.repository, out, args.own_spelling)
        print(out / COMMANDS)
    if args.mode != "text":
        prepare_audio(get_recordings(args.folder) if args.mode == "all" else args.audio, out, max(1, args.jobs))
        print(out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
