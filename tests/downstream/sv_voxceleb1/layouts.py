"""Corpora in the layout of VoxCeleb1: synthetic speech, and real recordings of a few speakers."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from preprocess.synthesis.voxceleb1 import ROOT, TRIALS, trials
from tests.support import corpora
from utility.audio.io import load_audio, save_audio


class Layout(NamedTuple):
    """The corpus and its two lists of trials."""

    root: Path
    dev: Path
    test: Path

    @property
    def datarc(self) -> dict[str, str]:
        """The fields of the config."""
        return {"file_path": str(self.root), "dev_meta_data": str(self.dev), "test_meta_data": str(self.test)}

    @property
    def override(self) -> str:
        """The fields as an argument of ``-o``."""
        return ",,".join(f"config.downstream_expert.datarc.{name}={path}" for name, path in self.datarc.items())


def synthetic(out: Path, size: str | int = "tiny", jobs: int | None = 1) -> Layout:
    """The synthetic corpus; skips where there is no synthesizer."""
    corpora.synthetic("voxceleb1", out, size, jobs)
    return Layout(out / ROOT, out / TRIALS["dev"], out / TRIALS["test"])


Recordings = Mapping[str, Sequence[np.ndarray]]


def lay_out(out: Path, train: Recordings, dev: Recordings, test: Recordings) -> Layout:
    """Recordings (at 16 kHz, by speaker) as a corpus: speakers to train on, beside them those of the dev trials, and those of the test."""
    layout = Layout(out / "VoxCeleb1", out / "dev.txt", out / "test.txt")
    rng, number = np.random.default_rng(0), 10000
    for part, speakers in (("dev", train), ("dev", dev), ("test", test)):
        spoken: dict[str, list[str]] = {}
        for wavs in speakers.values():
            number += 1
            for take, wav in enumerate(wavs):
                path = f"id{number}/video{take // 4:06d}/{take % 4 + 1:05d}.wav"
                save_audio(layout.root / part / "wav" / path, wav, 16000)
                spoken.setdefault(f"id{number}", []).append(path)
        if speakers is not train:
            lines = trials(spoken, rng)
            (layout.dev if speakers is dev else layout.test).write_text("".join(f"{line}\n" for line in lines))
    return layout


def timit_speakers(shared: Path) -> dict[str, list[np.ndarray]]:
    """Ten speakers with ten English sentences of one to five seconds each."""
    folders = sorted(path for path in (shared / "data/timit_sample").iterdir() if path.is_dir())
    return {folder.name: [load_audio(path) for path in sorted(folder.glob("*.wav"))] for folder in folders}


def emodb_speakers(shared: Path) -> dict[str, list[np.ndarray]]:
    """Five speakers with about forty German sentences of two seconds each, in seven emotions."""
    files = sorted((shared / "data/emodb/wav").glob("*.wav"))
    return {name: [load_audio(path) for path in files if path.name[:2] == name] for name in sorted({path.name[:2] for path in files})}


def fsdd_speakers(shared: Path, folder: Path, words: int = 5) -> dict[str, list[np.ndarray]]:
    """Four speakers with hundreds of English digits at 8 kHz, joined by fives to utterances of about two seconds.

    Args:
        folder: where the archive is unpacked.
        words: digits of an utterance.
    """
    with tarfile.open(shared / "data/fsdd/fsdd_4spk.tar.gz") as archive:
        folder.mkdir(parents=True, exist_ok=True)
        for member in archive:  # by hand: extractall's argument filter is missing from Python 3.10.0 to 3.11.3
            if member.isfile():
                (folder / Path(member.name).name).write_bytes(archive.extractfile(member).read())
    spoken: dict[str, list[np.ndarray]] = {}
    for path in sorted(folder.rglob("*.wav"), key=lambda path: path.stem.split("_")[::-1]):
        spoken.setdefault(path.stem.split("_")[1], []).append(load_audio(path))
    return {name: [np.concatenate(wavs[i : i + words]) for i in range(0, len(wavs), words)] for name, wavs in spoken.items()}


def write_tones(root: Path, files: Iterable[str], seconds: float = 2.5, rate: int = 16000) -> None:
    """Files of a steady tone, which no effect shortens, below ``root``."""
    wav = 0.3 * np.cos(np.arange(int(seconds * rate)) * (2 * np.pi * 200 / rate))
    for file in files:
        save_audio(root / file, wav.astype(np.float32), rate)
