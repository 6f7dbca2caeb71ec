"""Places with their noise, imitated at any rate: the fifteen noises of the Valentini corpus.

A scene is a sum of layers: a bed of coloured noise, engines, voices, and events such as clinks, steps and passing cars, whose levels waver.
Each is a function of (n, rng, rate) with a result of unit power. Names and division are the corpus'; the recipes are our own and fixed:
corpora made with them must stay comparable.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from preprocess.synthesis.draws import generator
from preprocess.synthesis.noise import babble, hum, shaped, unit

Layer = Callable[[int, np.random.Generator, int], np.ndarray]
RECORDED_S = 20  # the length of a scene's recording, which utterances take their parts of


def bed(tilt_db: float, corner: float = 100.0) -> Layer:
    """Noise that falls by ``tilt_db`` per octave above ``corner`` Hz, with a few broad resonances drawn by chance."""

    def layer(n: int, rng: np.random.Generator, rate: int) -> np.ndarray:
        humps = [(rng.uniform(150, 5000), rng.uniform(0.15, 0.5), rng.uniform(-0.5, 1.5)) for _ in range(5)]

        def amplitude(hertz: np.ndarray) -> np.ndarray:
            octaves = np.log2(np.maximum(hertz, corner) / corner)
            bumps = sum(gain * np.exp(-((np.log2(np.maximum(hertz, 1) / at) / width) ** 2)) for at, width, gain in humps)
            return 10 ** ((bumps * 6 - tilt_db * octaves) / 20) * (hertz > 20)

        return shaped(n, rng, amplitude, rate)

    return layer


def wavering(layer: Layer, depth: float, hertz: float) -> Layer:
    """A layer whose level swings by a factor of about ``exp(depth)``, with movements up to ``hertz`` times a second."""

    def slow(n: int, rng: np.random.Generator, rate: int) -> np.ndarray:
        swing = shaped(n, rng, lambda frequency: (frequency > 0) & (frequency < hertz), rate)
        return unit(layer(n, rng, rate) * np.exp(depth * swing))

    return slow


def engine(low: float, high: float) -> Layer:
    """An engine's harmonics, whose fundamental glides between ``low`` and ``high`` Hz."""

    def layer(n: int, rng: np.random.Generator, rate: int) -> np.ndarray:
        glide = np.clip(shaped(n, rng, lambda frequency: (frequency > 0) & (frequency < 0.3), rate), -2, 2) / 4 + 0.5
        phase = 2 * np.pi * np.cumsum(low + (high - low) * glide) / rate
        return unit(sum(rng.uniform(0.3, 1) / k * np.sin(k * phase + rng.uniform(0, 6)) for k in range(1, 16)))

    return layer


def events(per_second: float, low: float, high: float, decay: float, tones: int = 4) -> Layer:
    """Short sounds at random times: decaying tones between ``low`` and ``high`` Hz, gone after about 3 / ``decay`` seconds."""

    def layer(n: int, rng: np.random.Generator, rate: int) -> np.ndarray:
        wav = np.zeros(n)
        for start in rng.integers(0, n, max(1, round(per_second * n / rate))):
            fade = decay * rng.uniform(0.6, 1.6)
            times = np.arange(min(n - start, int(6 / fade * rate))) / rate
            sound = sum(np.sin(2 * np.pi * hertz * times + rng.uniform(0, 6)) for hertz in rng.uniform(low, high, tones))
            wav[start : start + len(times)] += rng.lognormal(0, 0.7) * sound * np.exp(-times * fade)
        return unit(wav)

    return layer


def passing(low: float, high: float, every_s: float) -> Layer:
    """Noise between ``low`` and ``high`` Hz that swells and fades as something passes, every ``every_s`` seconds or so."""

    def layer(n: int, rng: np.random.Generator, rate: int) -> np.ndarray:
        noise = shaped(n, rng, lambda hertz: ((hertz > low) & (hertz < high)) / np.sqrt(np.maximum(hertz, low)), rate)
        times, swell = np.arange(n) / rate, np.full(n, 0.05)
        for at in rng.uniform(0, n / rate, max(1, round(n / rate / every_s))):
            swell += rng.uniform(0.4, 1) * np.exp(-(((times - at) / rng.uniform(0.5, 1.5)) ** 2))
        return unit(noise * swell)

    return layer


def voices(crowd: int, take: int = 0) -> Layer:
    """People who talk: ``crowd`` times six voices at once, from one of two recordings."""

    def layer(n: int, rng: np.random.Generator, rate: int) -> np.ndarray:
        talk = babble(take, rate)
        return unit(sum(np.resize(np.roll(talk, rng.integers(len(talk))), n) for _ in range(crowd)))

    return layer


def speech_shaped(n: int, rng: np.random.Generator, rate: int) -> np.ndarray:
    """Steady noise with the average spectrum of speech."""
    talk = babble(0, rate)
    size = 1024
    frames = talk[: len(talk) // size * size].reshape(-1, size) * np.hanning(size)
    average = np.sqrt(np.mean(np.abs(np.fft.rfft(frames)) ** 2, axis=0))
    return shaped(n, rng, lambda hertz: np.interp(hertz, np.fft.rfftfreq(size, 1 / rate), average), rate)


def melody(n: int, rng: np.random.Generator, rate: int) -> np.ndarray:
    """Music from a loudspeaker in another corner: a note of three harmonics every 0.4 seconds."""
    length = int(0.4 * rate)
    times = np.arange(length) / rate
    fade = np.minimum(1, times / 0.02) * np.exp(-3 * times)
    pitches = 220 * 2 ** (rng.choice((0, 2, 4, 5, 7, 9, 11, 12), -(-n // length)) / 12)
    notes = [fade * sum(np.sin(2 * np.pi * k * pitch * times) / k for k in (1, 2, 3)) for pitch in pitches]
    return unit(np.concatenate(notes)[:n])


_CLINKS, _STEPS, _KEYS = events(2.5, 1500, 7000, 30), events(1.8, 80, 400, 40), events(5, 1200, 6000, 250, 8)
# Scene -> layers with their levels in dB.
TRAIN: dict[str, tuple[tuple[Layer, float], ...]] = {
    "babble": ((voices(1), 0),),
    "ssn": ((speech_shaped, 0),),
    "kitchen": ((wavering(bed(3, 800), 0.2, 3), -3), (_CLINKS, 0), (hum, -12)),
    "meeting": ((bed(6, 120), -3), (wavering(voices(1), 0.6, 0.5), 0), (_KEYS, -12)),
    "cafeteria": ((bed(4, 200), -6), (voices(3), 0), (_CLINKS, -6)),
    "restaurant": ((bed(5, 150), -8), (voices(2), 0), (events(1.2, 2000, 9000, 15), -4)),
    "metro": ((wavering(bed(7, 60), 0.4, 0.5), 0), (passing(300, 4000, 5), -4), (engine(180, 420), -10)),
    "car": ((bed(9, 50), 0), (engine(35, 70), -6), (wavering(bed(4, 400), 0.3, 1), -14)),
    "traffic": ((bed(6, 100), -6), (passing(80, 6000, 3), 0), (engine(40, 110), -6)),
    "station": ((bed(5, 200), -2), (voices(3), -3), (_STEPS, -6), (passing(100, 2500, 8), -3)),
}
TEST: dict[str, tuple[tuple[Layer, float], ...]] = {
    "bus": ((wavering(bed(8, 70), 0.4, 0.7), 0), (engine(25, 90), -3), (voices(1, 1), -12)),
    "cafe": ((bed(4, 300), -6), (voices(2, 1), 0), (events(0.8, 2500, 8000, 20), -3), (melody, -8)),
    "living": ((bed(6, 100), -3), (wavering(voices(1, 1), 0.5, 0.3), -3), (melody, -3)),
    "office": ((bed(5, 250), 0), (_KEYS, -6), (hum, -6), (engine(90, 110), -12)),
    "psquare": ((bed(5, 150), -3), (voices(2, 1), -3), (_STEPS, -3), (passing(100, 4000, 6), -3)),
}
SCENES = TRAIN | TEST


@lru_cache(maxsize=len(SCENES))
def recording(name: str, seed: int, rate: int) -> np.ndarray:
    """(``RECORDED_S`` seconds,) float32, unit power: what a microphone in this scene hears.

    Args:
        name: one of ``SCENES``.
        seed: the corpus' seed.
        rate: samples per second.
    """
    rng = generator(seed, "scene", name)
    return unit(sum(10 ** (level / 20) * layer(RECORDED_S * rate, rng, rate) for layer, level in SCENES[name])).astype(np.float32)
