"""Small corpora of digits: tones whose pitch is the digit, and the digits of the synthetic Speech Commands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from downstream.blocks.sc09 import DIGITS, FOLDERS, LISTS, NOISES, class_files
from downstream.speech_commands.corpus import part_of
from tests.support.configs import counted_in_updates
from utility.audio.io import save_audio

TASK = Path(__file__).resolve().parents[3] / "downstream/sc09_classifier"
RATE = 16000
DATARC = "config.downstream_expert.datarc"
TINY = {"cardinality": 2, "depth": 11, "base_width": 2, "widen_factor": 1}
MODELRC = ",,".join(f"config.downstream_expert.modelrc.{name}={value}" for name, value in TINY.items())


def tone(digit: int, rng: np.random.Generator, seconds: float = 1.0) -> np.ndarray:
    """A hum of the digit's pitch somewhere within noise."""
    time = np.arange(int(seconds * RATE)) / RATE
    envelope = np.exp(-((time - rng.uniform(0.3, 0.7)) ** 2) / 0.03)
    return (0.3 * envelope * np.sin(2 * np.pi * 200 * 1.35**digit * time) + 0.01 * rng.standard_normal(len(time))).astype(np.float32)


def write_tones(folder: Path, names: Sequence[str], rng: np.random.Generator) -> list[str]:
    """``<digit>/<name>.wav`` of each digit and name; returns these paths."""
    paths = [f"{digit}/{name}.wav" for digit in DIGITS for name in names]
    for path in paths:
        save_audio(folder / path, tone(DIGITS.index(path.split("/")[0]), rng, rng.uniform(0.8, 1.1)), RATE)
    return paths


def tones(root: Path, train: int = 3, held_out: int = 1, folders: bool = False) -> Path:
    """A corpus in the layout with lists, or in that of folders."""
    rng = np.random.default_rng(0)
    counts = {"train": train, "dev": held_out, "test": held_out}
    for split, count in counts.items():
        names = [f"{split}{number}" for number in range(count)]
        paths = write_tones(root / FOLDERS[split] if folders else root, names, rng)
        if split in LISTS and not folders:
            (root / LISTS[split]).write_text("".join(f"{path}\n" for path in ["cat/other.wav", *paths]))
    save_audio((root / "train" if folders else root) / NOISES / "hiss.wav", 0.02 * rng.standard_normal(2 * RATE), RATE)
    return root


def write_lists(root: Path) -> Path:
    """Lists for a copy of Speech Commands that has none, by the rule of its hash."""
    parts = {"dev": "valid", "test": "test"}
    for split, file in LISTS.items():
        names = [f"{path.parent.name}/{path.name}" for path in class_files(root) if part_of(path.name) == parts[split]]
        (root / file).write_text("".join(f"{name}\n" for name in names))
    return root


def stepped(place: Path) -> Path:
    """The task's config without what it counts in epochs, so that a test can count in updates."""
    return counted_in_updates(TASK, place)
