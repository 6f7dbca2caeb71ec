"""Recordings laid out as VoxCeleb1 with an identification split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from preprocess.synthesis.voxceleb1 import ROOT, SPLIT_FILE
from tests.downstream.sv_voxceleb1 import layouts as verification
from tests.support import corpora
from utility.audio.io import save_audio

_FSDD_TAKES = 40


class Layout(NamedTuple):
    """The corpus and its list."""

    root: Path
    split_file: Path

    @property
    def datarc(self) -> dict[str, str]:
        """The two fields of the config."""
        return {"file_path": str(self.root), "meta_data": str(self.split_file)}

    @property
    def override(self) -> str:
        """The two fields as an argument of ``-o``."""
        return ",,".join(f"config.downstream_expert.datarc.{name}={path}" for name, path in self.datarc.items())


def synthetic(out: Path, size: str | int = "tiny", jobs: int | None = 1) -> Layout:
    """The synthetic corpus; skips where there is no synthesizer."""
    corpora.synthetic("voxceleb1", out, size, jobs)
    return Layout(out / ROOT, out / SPLIT_FILE)


def write_corpus(out: Path, present: Iterable[str], lines: Iterable[str], samples: int = 1600, rate: int = 16000) -> Layout:
    """Ramps, of which every sample says where it is, and a list.

    Args:
        out: the folder.
        present: ``<folder>/wav/<speaker>/<video>/<file>``.
        lines: of the list.
        samples, rate: of each file.
    """
    layout = Layout(out / "VoxCeleb1", out / "split.txt")
    for name in present:
        (layout.root / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(layout.root / name, np.arange(samples) / 200_000, rate, subtype="FLOAT")
    layout.split_file.write_text("".join(f"{line}\n" for line in lines))
    return layout


def lay_out_speakers(spoken: Mapping[str, Sequence[Path]], out: Path, held_out: int) -> Layout:
    """Files of real speakers; the last ``held_out`` of each are test, as many before them dev, the others train."""
    layout, lines = Layout(out / "VoxCeleb1", out / "split.txt"), []
    for number, (_, files) in enumerate(sorted(spoken.items()), 10001):
        for place, file in enumerate(files):
            code = 3 if place >= len(files) - held_out else 2 if place >= len(files) - 2 * held_out else 1
            path = f"id{number}/video/{place:05d}.wav"
            target = layout.root / "dev/wav" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
            lines.append(f"{code} {path}\n")
    layout.split_file.write_text("".join(lines))
    return layout


def timit_speakers(shared: Path) -> dict[str, list[Path]]:
    """Ten speakers with ten sentences each; the two that all of them say come first."""
    folders = sorted(path for path in (shared / "data/timit_sample").iterdir() if path.is_dir())
    return {folder.name: sorted(folder.glob("*.wav")) for folder in folders if list(folder.glob("*.wav"))}


def fsdd_speakers(shared: Path, folder: Path) -> dict[str, list[Path]]:
    """Four speakers with forty utterances of five digits each.

    Args:
        folder: where the utterances are written.
    """
    spoken: dict[str, list[Path]] = {}
    for name, wavs in verification.fsdd_speakers(shared, folder / "digits").items():
        for number, wav in enumerate(wavs[:: max(1, len(wavs) // _FSDD_TAKES)][:_FSDD_TAKES]):
            spoken.setdefault(name, []).append(folder / name / f"{number:03d}.wav")
            save_audio(spoken[name][-1], wav, 16000)
    return spoken


def emodb_speakers(shared: Path) -> dict[str, list[Path]]:
    """Five speakers with 35 and more sentences each, at 22.05 kHz."""
    spoken: dict[str, list[Path]] = {}
    for path in sorted((shared / "data/emodb/wav").glob("*.wav")):
        spoken.setdefault(path.name[:2], []).append(path)
    return spoken
