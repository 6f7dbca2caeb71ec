"""The six background noises of Speech Commands, imitated."""

from __future__ import annotations

import numpy as np

from preprocess.synthesis.draws import generator
from preprocess.synthesis.engine import SAMPLE_RATE
from preprocess.synthesis.noise import hum, pink, shaped, white


def background(name: str, n: int, seed: int) -> np.ndarray:
    """(n,) float32, 16 kHz: the noise of that name with its peak at 0.5.

    Args:
        name: one of ``GENERATORS``.
        n: samples.
        seed: the corpus' seed.
    """
    wav = GENERATORS[name](n, generator(seed, "background", name))
    return (0.5 * wav / np.abs(wav).max()).astype(np.float32)


def _doing_the_dishes(n: int, rng: np.random.Generator) -> np.ndarray:
    """Running water with about two clinks a second: short decaying tones of china."""
    wav = 0.3 * _running_tap(n, rng)
    for start in rng.integers(0, n, max(1, 2 * n // SAMPLE_RATE)):
        times = np.arange(min(n - start, SAMPLE_RATE // 4)) / SAMPLE_RATE
        tones = sum(np.sin(2 * np.pi * hertz * times) for hertz in rng.uniform(1500, 6500, 4))
        wav[start : start + len(times)] += rng.uniform(0.3, 1.5) * tones * np.exp(-times * rng.uniform(20, 60))
    return wav


def _dude_miaowing(n: int, rng: np.random.Generator) -> np.ndarray:
    """A miaow of about a second every two: a gliding harmonic tone through an opening mouth, over a quiet room."""
    wav = 0.02 * pink(n, rng)
    for start in range(0, n, 2 * SAMPLE_RATE):
        length = min(n - start, int(rng.uniform(0.6, 1.2) * SAMPLE_RATE))
        position = np.arange(length) / max(length, 1)
        pitch = rng.uniform(280, 450) * (1 + 0.4 * np.sin(np.pi * position) - 0.25 * position)
        phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
        mouth = 600 + 1400 * np.sin(np.pi * position)
        tone = sum(np.sin(k * phase) * np.exp(-(((k * pitch - mouth) / 700) ** 2)) for k in range(1, 12))
        wav[start : start + length] += tone * np.sin(np.pi * position)
    return wav


def _exercise_bike(n: int, rng: np.random.Generator) -> np.ndarray:
    """Whirring that swells with each turn of the pedals, with the motor's hum."""
    turns = np.cumsum(1.3 + 0.1 * np.sin(2 * np.pi * 0.05 * np.arange(n) / SAMPLE_RATE)) / SAMPLE_RATE
    whirr = shaped(n, rng, lambda hertz: np.exp(-(((hertz - 900) / 700) ** 2)))
    return whirr * (0.6 + 0.4 * np.sin(2 * np.pi * turns)) + 0.3 * hum(n, rng)


def _running_tap(n: int, rng: np.random.Generator) -> np.ndarray:
    """Broad noise around 2 to 6 kHz whose level wavers slowly."""
    water = shaped(n, rng, lambda hertz: np.exp(-(((hertz - 3500) / 2500) ** 2)) + 0.1)
    waver = shaped(n, rng, lambda hertz: (hertz < 4) * (hertz > 0))
    return water * np.exp(0.2 * waver)


GENERATORS = {
    "doing_the_dishes": _doing_the_dishes,
    "dude_miaowing": _dude_miaowing,
    "exercise_bike": _exercise_bike,
    "pink_noise": pink,
    "running_tap": _running_tap,
    "white_noise": white,
}
