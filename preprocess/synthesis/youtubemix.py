"""Piano pieces in the layout of YouTubeMix: struck strings in a key and a rhythm of each piece's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from preprocess.synthesis.build import Corpus, Item
from preprocess.synthesis.draws import generator
from preprocess.synthesis.engine import SAMPLE_RATE
from utility.audio.io import save_audio

ROOT = "youtube_mix"
SECONDS = 10
SCALE = (0, 2, 4, 5, 7, 9, 11)  # semitones of a major key
HARMONICS = 8
LOWEST = 48  # MIDI number of the C below middle C


def struck(pitch: float, seconds: float) -> np.ndarray:
    """One note: harmonics that die away, the higher the sooner; (n,) float64.

    Args:
        pitch: MIDI number.
        seconds: length.
    """
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    frequency = 440 * 2 ** ((pitch - 69) / 12)
    attack = np.minimum(1, time / 0.005)
    parts = (np.sin(2 * np.pi * frequency * n * time) * np.exp(-time * (1.5 + 0.8 * n)) / n for n in range(1, HARMONICS + 1))
    return attack * sum(parts)


def piece(seed: int, index: int) -> np.ndarray:
    """(SECONDS * 16000,) float32: a melody that moves by steps, over a note of the bass every other beat."""
    rng = generator(seed, "piece", index)
    key, beat = int(rng.integers(12)), rng.uniform(0.25, 0.5)
    wav = np.zeros(SECONDS * SAMPLE_RATE)
    degree, start = int(rng.integers(7, 14)), 0.0
    while start < SECONDS:
        _add(wav, start, struck(_pitch(key, degree), 1.5) * rng.uniform(0.5, 1))
        if rng.random() < 0.5:
            _add(wav, start, struck(_pitch(key, degree % 7) - 12, 2.0) * 0.6)
        degree = int(np.clip(degree + rng.integers(-2, 3), 5, 16))
        start += beat * rng.choice([0.5, 1, 1, 2])
    wav += 1e-3 * rng.standard_normal(len(wav))
    return (0.5 * wav / np.abs(wav).max()).astype(np.float32)


def _pitch(key: int, degree: int) -> float:
    octave, step = divmod(degree, len(SCALE))
    return LOWEST + key + 12 * octave + SCALE[step]


def _add(wav: np.ndarray, start: float, note: np.ndarray) -> None:
    place = wav[int(start * SAMPLE_RATE) :][: len(note)]
    place += note[: len(place)]


def plan(size: int) -> list[Item]:
    """One item per piece."""
    return [Item("piece", "", index, 1) for index in range(size)]


def render(item: Item, size: int, seed: int, out: Path) -> dict[str, Any]:
    """Writes one piece."""
    save_audio(out / ROOT / f"out{item.index}.wav", piece(seed, item.index), SAMPLE_RATE)
    return {}


def finish(records: dict[str, dict[str, Any]], size: int, seed: int, out: Path) -> None:
    """There is nothing else."""


CORPUS = Corpus("youtubemix", (ROOT,), {"tiny": 20, "small": 100, "medium": 240}, plan, render, finish)
