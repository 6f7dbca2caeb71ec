"""Words of LibriSpeech's transcripts that a lexicon lacks, sorted, one per line: what a grapheme-to-phoneme model has to pronounce.

python3 preprocess/get_libri_words_not_in_lexicon.py --libri LibriSpeech --lexicon lexicon.txt --output_words words.txt
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

if __package__ in (None, ""):
    import _root  # noqa: F401

from utility.errors import DataError, UsageError, program
from utility.text.files import lines_of

SUFFIX = ".trans.txt"


def lexicon_words(path: Path) -> set[str]:
    """The words of a lexicon (first column, before a space or tab), in capitals.

    Raises:
        DataError: it cannot be read or is empty.
    """
    words = {columns[0].upper() for line in lines_of(path, "lexicon") if (columns := line.split(maxsplit=1))}
    if not words:
        raise DataError(f"lexicon {path} is empty")
    return words


def transcript_words(path: Path) -> set[str]:
    """The words of one ``<speaker>-<chapter>.trans.txt``, in capitals; the first column is the utterance."""
    return {word for line in lines_of(path, "transcript") for word in line.upper().split()[1:]}


def missing_words(transcripts: Iterable[Path], lexicon: set[str], jobs: int) -> list[str]:
    """Words of the transcripts outside the lexicon, sorted."""
    with ThreadPoolExecutor(jobs) as pool:
        return sorted(set().union(*pool.map(transcript_words, transcripts)) - lexicon)


def run(args: argparse.Namespace) -> None:
    """Writes the list and prints where it is and how many words it has.

    Raises:
        DataError: no transcripts, no lexicon, or the list cannot be written.
        UsageError: an impossible number of jobs.
    """
    if args.njobs == 0 or args.njobs < -1:
        raise UsageError(f"--njobs must be at least 1, or -1 for all cores, not {args.njobs}")
    if not args.libri.is_dir():
        raise DataError(f"--libri: folder {args.libri} does not exist")
    lexicon, transcripts = lexicon_words(args.lexicon), sorted(args.libri.rglob(f"*{SUFFIX}"))
    if not transcripts:
        raise DataError(f"--libri: no *{SUFFIX} below {args.libri}")
    words = missing_words(transcripts, lexicon, args.njobs if args.njobs > 0 else os.cpu_count() or 1)
    try:
        args.output_words.parent.mkdir(parents=True, exist_ok=True)
        args.output_words.write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot write {args.output_words}: {error.strerror}") from error
    print(f"{args.output_words}: {len(words)} words")


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    parser = argparse.ArgumentParser(description="list the words of LibriSpeech that a lexicon lacks", allow_abbrev=False)
    parser.add_argument("--libri", type=Path, required=True, help="folder with transcripts at any depth")
    parser.add_argument("--lexicon", type=Path, required=True, help="lines WORD PHONES")
    parser.add_argument("--output_words", type=Path, required=True, help="file to write")
    parser.add_argument("--njobs", type=int, default=-1, help="files read at once; -1: as many as there are cores")
    run(parser.parse_args(argv))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
