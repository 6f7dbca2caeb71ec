"""Mixes conversations out of any speech corpus, and writes them as a Kaldi folder for the task diarization.

    python3 preprocess/simulate_mixtures.py --speech LibriSpeech/train-clean-100 --out data/train --mixtures 1000
    python3 preprocess/simulate_mixtures.py --speech LibriSpeech/dev-clean --out data/dev --rttm dev_clean.rttm --noise wham/cv

OUT gets wav/<mixture>.wav and wav.scp, segments, utt2spk, spk2utt, reco2dur, rttm. Equal seeds give equal mixtures.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path

if __package__ in (None, ""):
    import _root  # noqa: F401

import numpy as np
from tqdm import tqdm

from preprocess.kaldi_folder import Recording, Turn, write_kaldi_folder
from preprocess.mixtures import Mixture, Utterance, conversation, overlap_of, speech_in
from utility.audio.io import find_audio, load_audio, save_audio
from utility.errors import DataError, UsageError, program
from utility.metrics.diarization import merged
from utility.metrics.rttm import read_rttm


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    args = arguments(argv)
    check(args)
    files = by_speaker(args.speech, args.speaker)
    if len(files) < args.speakers:
        raise DataError(
            f"{args.speech} has {len(files)} speakers ({', '.join(list(files)[:5])}), a mixture needs {args.speakers}; see --speaker"
        )
    noises = find_audio(args.noise) if args.noise else []
    activity = read_rttm(args.rttm) if args.rttm else None
    recordings, overlaps = [], []
    for number in tqdm(range(args.mixtures), unit="mixture"):
        rng = np.random.default_rng(np.random.SeedSequence([args.seed, number]))
        utterances = _drawn(rng, files, activity, args)
        mixture = conversation(
            rng, utterances, None if args.aligned else args.overlap * rng.uniform(0.5, 1.5), _noise(rng, noises, args.rate)
        )
        name = f"{number:06d}_" + "_".join(sorted(mixture.turns))
        recordings.append(_written(args.out, name, mixture, args.rate))
        overlaps.append(overlap_of(list(mixture.turns.values())))
    written = write_kaldi_folder(args.out, recordings)
    minutes = sum(recording.seconds for recording in recordings) / 60
    print(f"{len(recordings)} mixtures, {minutes:.1f} minutes, {written} in {args.out}; overlap {100 * np.mean(overlaps):.1f} %")
    return 0


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True, help="folder of the corpus, or of one split of it")
    parser.add_argument("--out", type=Path, required=True, help="the Kaldi folder to write")
    parser.add_argument("--mixtures", type=int, default=1000)
    parser.add_argument("--speakers", type=int, default=2, help="in each mixture")
    parser.add_argument("--utterances", type=int, default=2, help="of each speaker in a mixture")
    parser.add_argument(
        "--overlap", type=float, default=0.3, help="part of the speech during which several speak, on average (default: 0.3)"
    )
    parser.add_argument("--aligned", action="store_true", help="all speakers begin at 0, as in Libri2Mix; --overlap is not used")
    parser.add_argument(
        "--speaker",
        default=r"^([^/]+)/",
        metavar="REGEX",
        help="its first group, in the path below --speech, is the speaker (default: the first folder)",
    )
    parser.add_argument("--rttm", type=Path, help="when there is speech in each utterance; guessed from the energy by default")
    parser.add_argument("--noise", type=Path, help="folder of background noises")
    parser.add_argument("--rate", type=int, default=16000, help="in Hz")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(argv)


def check(args: argparse.Namespace) -> None:
    """Refuses numbers that make no mixture, and a folder that is in use.

    Raises:
        UsageError, DataError: with the first fault.
    """
    for name, least in (("mixtures", 1), ("speakers", 1), ("utterances", 1), ("rate", 1000), ("seed", 0)):
        if getattr(args, name) < least:
            raise UsageError(f"--{name} must be at least {least}, not {getattr(args, name)}")
    if not 0 <= args.overlap <= 0.6:
        raise UsageError(f"--overlap must lie between 0 and 0.6, not at {args.overlap}; --aligned gives more")
    if args.out.is_dir() and any(args.out.iterdir()):
        raise DataError(f"folder {args.out} is not empty; name another one")


def by_speaker(folder: Path, pattern: str) -> dict[str, list[Path]]:
    """The audio files of each speaker, sorted.

    Raises:
        UsageError: the pattern is no regular expression with a group.
        DataError: there is no audio file, or the pattern fits none.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"--speaker {pattern!r} is no regular expression: {error}") from error
    if not compiled.groups:
        raise UsageError(f"--speaker {pattern!r} has no group in parentheses")
    files, found, unfit = find_audio(folder), {}, []
    for path in files:
        match = compiled.search(path.relative_to(folder).as_posix())
        if match and match[1]:
            found.setdefault(re.sub(r"[\s/]+", "-", match[1]), []).append(path)  # ids of a Kaldi folder have neither
        else:
            unfit.append(path)
    if not found:
        raise DataError(
            f"{folder} has no audio file" if not files else f"--speaker {pattern!r} fits no path below {folder}, such as {files[0]}"
        )
    if unfit:
        print(
            f"--speaker fits {len(files) - len(unfit)} of {len(files)} files; the others are left out, {unfit[0]} among them",
            file=sys.stderr,
        )
    return found


def _drawn(
    rng: np.random.Generator, files: Mapping[str, list[Path]], activity: Mapping | None, args: argparse.Namespace
) -> list[Utterance]:
    names = list(files)
    chosen = [names[index] for index in rng.choice(len(names), args.speakers, replace=False)]
    utterances = []
    for who in chosen:
        own = files[who]
        for index in rng.choice(len(own), args.utterances, replace=len(own) < args.utterances):
            utterances.append(_utterance(own[index], who, activity, args.rate))
    return utterances


def _utterance(path: Path, who: str, activity: Mapping | None, rate: int) -> Utterance:
    """Audio and speech activity; utterances of LibriSpeech have ids without the speaker in LibriMix's activity."""
    wav = load_audio(path, rate)
    if activity is None:
        return Utterance(wav, rate, speech_in(wav, rate), who, path.stem)
    for name in (path.stem, path.stem.split("-", 1)[-1]):
        if name in activity:
            speech = np.clip(merged(np.concatenate(list(activity[name].values()))), 0, len(wav) / rate)
            if not len(inside := merged(speech)):
                raise DataError(f"--rttm has no turn of {path.stem} within its {len(wav) / rate:g} s")
            return Utterance(wav, rate, inside, who, path.stem)
    raise DataError(f"--rttm has no line for {path.stem}")


def _noise(rng: np.random.Generator, noises: list[Path], rate: int) -> np.ndarray | None:
    return load_audio(noises[rng.integers(len(noises))], rate) if noises else None


def _written(out: Path, name: str, mixture: Mixture, rate: int) -> Recording:
    path, seconds = (out / "wav" / f"{name}.wav").resolve(), len(mixture.wav) / rate
    save_audio(path, mixture.wav, rate)
    turns = tuple(Turn(float(a), min(float(b), seconds), who) for who, own in mixture.turns.items() for a, b in own)
    return Recording(name, path, seconds, turns)


if __name__ == "__main__":
    raise SystemExit(main())
