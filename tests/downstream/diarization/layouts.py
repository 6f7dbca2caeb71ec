"""Corpora as Kaldi folders: synthetic ones, and real recordings with their turns."""

from __future__ import annotations

from pathlib import Path

from preprocess import prepare_diarization
from preprocess.kaldi_folder import Recording, Turn, write_kaldi_folder
from tests.support.corpora import synthetic
from utility.audio.io import audio_info
from utility.metrics.rttm import read_rttm

SMALL_MODEL = "config.downstream_expert.modelrc.hidden_size=16"
SPLITS = ("train", "dev", "test")


def kaldi_folders(size: str | int, place: Path, jobs: int | None = 1) -> Path:
    """The synthetic Libri2Mix, prepared as its README says; the folder of train, dev and test."""
    corpus = synthetic("libri2mix", place / "corpus", size, jobs)
    words = ["--source_dir", corpus / "Libri2Mix/wav16k/max/metadata", "--rttm_dir", corpus / "metadata/LibriSpeech"]
    assert prepare_diarization.main(["--target_dir", str(place / "data"), *map(str, words)]) == 0
    return place / "data"


def override(folders: Path) -> str:
    """The three folders as an argument of ``-o``."""
    return ",,".join(f"config.downstream_expert.loaderrc.{split}_dir={folders / split}" for split in SPLITS)


def real_folder(audio: dict[str, Path], rttm: list[Path], out: Path) -> Path:
    """Recordings with their RTTM as a Kaldi folder.

    Args:
        audio: file of each recording, by its name in the RTTM.
        rttm: files with the turns.
        out: the folder to write.
    """
    turns = {name: speakers for path in rttm for name, speakers in read_rttm(path).items()}
    recordings = []
    for name, path in audio.items():
        seconds = audio_info(path).seconds
        own = [Turn(float(a), min(float(b), seconds), who) for who, times in turns[name].items() for a, b in times if a < seconds]
        recordings.append(Recording(name, path, seconds, tuple(own)))
    write_kaldi_folder(out, recordings)
    return out


def librimix(shared: Path, out: Path) -> Path:
    """The 32 real mixtures of two as a Kaldi folder; a file and its RTTM have one number, and other names."""
    folder = shared / "data/librimix_diar/train/libri_speech_mix"
    files = sorted((folder / "rttm").glob("*.rttm"))
    audio = {next(iter(read_rttm(path))): folder / f"flac/{path.stem}.flac" for path in files}
    return real_folder(audio, files, out)
