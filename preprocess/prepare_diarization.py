"""Makes the Kaldi folders that the task diarization reads out of a rendered Libri2Mix.

    python3 preprocess/prepare_diarization.py --target_dir downstream/diarization/data \
        --source_dir Libri2Mix/wav16k/max/metadata --rttm_dir metadata/LibriSpeech

Read are mixture_{train-100,dev,test}_mix_both.csv and, for who speaks when, {train_clean_100,dev_clean,test_clean}.rttm, which lie in the
repository s3prl/LibriMix. Written are TARGET/{train,dev,test}. Sources of a mixture begin with it, so that their times are its times.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

if __package__ in (None, ""):
    import _root  # noqa: F401

from preprocess.kaldi_folder import Recording, Turn, write_kaldi_folder
from utility.errors import DataError, program
from utility.metrics.rttm import read_rttm

SAMPLE_RATE = 16000
# Kaldi folder -> part of Libri2Mix, speech activity of its sources.
PARTS = {"train": ("train-100", "train_clean_100"), "dev": ("dev", "dev_clean"), "test": ("test", "test_clean")}
_COLUMNS = ("mixture_ID", "mixture_path", "length")


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    args = arguments(argv)
    for split, (part, activity) in PARTS.items():
        rows = read_metadata(args.source_dir / f"mixture_{part}_{args.mixture_type}.csv")
        turns = turns_by_utterance(args.rttm_dir / f"{activity}.rttm")
        recordings = [recording_of(row, turns, args.source_dir, f"{part}/{args.mixture_type}") for row in rows]
        written = write_kaldi_folder(args.target_dir / split, recordings)
        print(f"{split}: {len(recordings)} mixtures, {written} in {args.target_dir / split}")
    return 0


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target_dir", type=Path, required=True, help="where train, dev and test are written")
    parser.add_argument(
        "--source_dir", type=Path, default=Path("Libri2Mix/wav16k/max/metadata"), help="metadata of the mixtures (%(default)s)"
    )
    parser.add_argument("--rttm_dir", type=Path, default=Path("metadata/LibriSpeech"), help="speech activity of LibriSpeech (%(default)s)")
    parser.add_argument("--mixture_type", default="mix_both", help="mix_both (SUPERB) or mix_clean")
    return parser.parse_args(argv)


def read_metadata(path: Path) -> list[dict[str, str]]:
    """The rows of a table of mixtures.

    Raises:
        DataError: it is missing, lacks a column, or has no row.
    """
    if not path.is_file():
        raise DataError(f"there is no table of mixtures {path}; --source_dir must be the folder metadata of the rendered Libri2Mix")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    missing = [name for name in _COLUMNS if rows and name not in rows[0]]
    if missing or not rows:
        raise DataError(f"{path} " + (f"has no column {missing[0]}" if missing else "names no mixture"))
    return rows


def turns_by_utterance(path: Path) -> dict[str, list[Turn]]:
    """The turns of every utterance of LibriSpeech, named ``<chapter>-<utterance>``.

    Raises:
        DataError: the file is missing, wrong or empty.
    """
    if not path.is_file():
        raise DataError(f"there is no speech activity {path}; --rttm_dir must be the folder metadata/LibriSpeech of s3prl/LibriMix")
    return {
        name: [Turn(float(start), float(end), who) for who, times in speakers.items() for start, end in times]
        for name, speakers in read_rttm(path).items()
    }


def recording_of(row: Mapping[str, str], turns: Mapping[str, list[Turn]], source_dir: Path, part: str) -> Recording:
    """A mixture with the turns of its sources.

    Raises:
        DataError: the audio is missing, a source has no speech activity, or the length is no number.
    """
    name = row["mixture_ID"]
    try:
        seconds = float(row["length"]) / SAMPLE_RATE
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise DataError(f"the mixture {name} has the length {row['length']!r}, which is no number of samples")
    spoken = [turn for source in name.split("_") for turn in _turns_of(source, turns, name)]
    cut = tuple(Turn(turn.start, min(turn.end, seconds), turn.speaker) for turn in spoken if turn.start < seconds)
    return Recording(name, _audio(Path(row["mixture_path"]), source_dir.parent / part / f"{name}.wav"), seconds, cut)


def _turns_of(source: str, turns: Mapping[str, list[Turn]], mixture: str) -> Iterable[Turn]:
    for name in (source.split("-", 1)[-1], source):
        if name in turns:
            return turns[name]
    raise DataError(f"the speech activity has no line for {source.split('-', 1)[-1]}, a source of the mixture {mixture}")


def _audio(named: Path, beside: Path) -> Path:
    """Where the metadata says, or, when the corpus was moved, beside the metadata."""
    for path in (named, beside):
        if path.is_file():
            return path.resolve()
    raise DataError(f"the mixture {named} does not exist, nor does {beside}")


if __name__ == "__main__":
    raise SystemExit(main())
