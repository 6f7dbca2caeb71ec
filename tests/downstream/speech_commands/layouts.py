"""Real recordings laid out as Speech Commands: the corpus folder and the folder of the test archive."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from downstream.speech_commands.corpus import CLASSES, NOISES, SILENCE, UNKNOWN, part_of

# FSDD's digits stand in for eight of the keywords and for two words that are none.
WORDS = (*CLASSES[:8], "eight", "nine")


class Layout(NamedTuple):
    """``speech_commands_root`` and ``speech_commands_test_root``."""

    root: Path
    test_root: Path

    @property
    def datarc(self) -> dict[str, str]:
        """The two fields of the config."""
        return {"speech_commands_root": str(self.root), "speech_commands_test_root": str(self.test_root)}

    @property
    def override(self) -> str:
        """The two fields as an argument of ``-o``."""
        return ",,".join(f"config.downstream_expert.datarc.{name}={path}" for name, path in self.datarc.items())


def speaker_in(part: str, name: str) -> str:
    """``name`` with the first number behind it that the corpus's hash puts into ``part`` (train, valid or test)."""
    return next(candidate for number in range(10_000) if part_of(candidate := f"{name}{number}") == part)


def lay_out_fsdd(archive: Path, out: Path, takes: int = 50, valid: str = "theo", test: str = "jackson") -> Layout:
    """Free Spoken Digits at their 8 kHz: one speaker in the validation part, one, unseen, in the test archive, the others in training.

    Args:
        archive: ``fsdd_4spk.tar.gz``.
        out: folder to write into.
        takes: how many of the 50 takes of each digit and speaker.
        valid, test: speakers.
    """
    layout = Layout(out / "speech_commands", out / "speech_commands_test")
    with tarfile.open(archive) as tar:
        for member in tar:
            digit, speaker, take = Path(member.name).stem.split("_")
            if int(take) >= takes:
                continue
            word = WORDS[int(digit)]
            if speaker == test:
                target = layout.test_root / (word if word in CLASSES else UNKNOWN) / f"{word}_{speaker}_nohash_{take}.wav"
            else:
                part = "valid" if speaker == valid else "train"
                target = layout.root / word / f"{speaker_in(part, speaker)}_nohash_{take}.wav"
            _copy(tar.extractfile(member), target)
    write_noises(layout, 8000, silences=takes)
    return layout


def lay_out_mini(folder: Path, out: Path) -> Layout:
    """The few clips of ``speech_commands_mini``, among them words of 30 ms, in all three parts under different speakers."""
    layout = Layout(out / "speech_commands", out / "speech_commands_test")
    for word in ("yes", "no"):
        for take, name in enumerate((f"{word}_1000ms.wav", f"{word}_30ms.wav")):
            for part in ("train", "valid"):
                _copy(folder / name, layout.root / word / f"{speaker_in(part, 'mini')}_nohash_{take}.wav")
            _copy(folder / name, layout.test_root / word / name)
    _copy(folder / "noise_1000ms.wav", layout.root / NOISES / "noise.wav")
    _copy(folder / "silence_1000ms.wav", layout.test_root / SILENCE / "silence.wav")
    return layout


def write_noises(layout: Layout, rate: int, silences: int, seconds: int = 3) -> None:
    """Two files of noise for training, and ``silences`` seconds of other noise in the test archive."""
    rng = np.random.default_rng(0)
    for name, level in (("hiss", 0.02), ("hush", 0.002)):
        _write(layout.root / NOISES / f"{name}.wav", level * rng.standard_normal(seconds * rate), rate)
    for number in range(silences):
        _write(layout.test_root / SILENCE / f"{number}.wav", 0.01 * rng.standard_normal(rate), rate)


def write_clips(root: Path, names: Iterable[str], samples: int = 1600, rate: int = 16000) -> None:
    """Clips of constant 0.5 under ``<folder>/<file>`` names."""
    for name in names:
        _write(root / name, np.full(samples, 0.5), rate)


def _write(path: Path, wav: np.ndarray, rate: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wav, rate)


def _copy(source: Path | io.BufferedIOBase, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(source, Path):
        shutil.copyfile(source, target)
    else:
        target.write_bytes(source.read())
