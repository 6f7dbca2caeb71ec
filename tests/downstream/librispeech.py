"""LibriSpeech for tests: the synthetic one, and real recordings in its layout."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from preprocess.generate_len_for_bucket import main as measure_lengths
from tests.support import corpora
from utility.audio.io import load_audio


class Layout(NamedTuple):
    """The corpus and its table of lengths."""

    root: Path
    bucket_file: Path

    @property
    def datarc(self) -> dict[str, str]:
        """The two fields of the config."""
        return {"libri_root": str(self.root), "bucket_file": str(self.bucket_file)}

    @property
    def override(self) -> str:
        """The two fields as an argument of ``-o``."""
        return as_override(self.datarc)


def as_override(datarc: Mapping[str, object]) -> str:
    """Fields of ``datarc`` as an argument of ``-o``."""
    return ",,".join(f"config.downstream_expert.datarc.{name}={value}" for name, value in datarc.items())


def synthetic(out: Path, size: str | int = "tiny", jobs: int | None = 1) -> Layout:
    """The synthetic corpus; skips where there is no synthesizer."""
    return measured(corpora.synthetic("librispeech", out, size, jobs) / "LibriSpeech")


def measured(root: Path) -> Layout:
    """A corpus with its tables of lengths beside it."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        status = measure_lengths(["-i", str(root), "-o", str(root.parent / "data"), "--n_jobs", "1", "--splits", *_splits(root)])
    assert status == 0
    return Layout(root, root.parent / "data/len_for_bucket")


def _splits(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.is_dir())


def write_utterances(root: Path, split: str, speaker: int, chapter: int, spoken: Iterable[tuple[Path | np.ndarray, str]]) -> list[str]:
    """Recordings and their texts as one chapter of a split.

    Args:
        root: of the corpus.
        split, speaker, chapter: where they go.
        spoken: (file or waveform at 16 kHz, text) of each.

    Returns:
        the names of the utterances.
    """
    folder, lines = root / split / str(speaker) / str(chapter), []
    folder.mkdir(parents=True)
    for number, (sound, text) in enumerate(spoken):
        name = f"{speaker}-{chapter}-{number:04d}"
        wav = sound if isinstance(sound, np.ndarray) else load_audio(sound, 16000)
        soundfile.write(folder / f"{name}.flac", wav, 16000)
        lines.append(f"{name} {text}")
    (folder / f"{speaker}-{chapter}.trans.txt").write_text("".join(f"{line}\n" for line in lines))
    return [line.split()[0] for line in lines]
