"""Background noises, and mixing at a signal-to-noise ratio.

The kinds and the range of 5 to 25 dB are fixed: corpora made with them must stay comparable.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from preprocess.synthesis.draws import generator
from preprocess.synthesis.engine import SAMPLE_RATE, Voice, synthesize
from preprocess.synthesis.voices import BABBLE

SNR_DB = (5.0, 25.0)
GAIN_DB = (-12.0, 0.0)
KINDS = ("white", "pink", "hum", "babble")
_BABBLE_TEXTS = (
    "people were talking all around about the weather and what they had done during the long summer at the lake",
    "nobody could follow a single story because every table in the room had its own loud and happy company",
    "some more coffee please, and another plate of those small cakes that my neighbour ordered before",
    "I told him twice that the last train leaves at eleven, yet he never looks at the clock",
    "they will open the new bridge next month if the river does not rise again after this rain",
    "she bought four tickets, two for the parents and two for us, but the show was moved to friday",
)


def mix(speech: np.ndarray, noise: np.ndarray, snr_db: float, active: slice | None = None) -> np.ndarray:
    """Speech plus noise at a ratio of mean powers.

    Args:
        speech: (n,) floating point.
        noise: (n,) floating point, not silent.
        snr_db: wanted ratio in dB.
        active: where the speech is, and where both powers are measured; everywhere by default.

    Returns:
        (n,) float32; the speech keeps its level.
    """
    active = active or slice(None)
    speech_power, noise_power = (float(np.mean(np.square(wav[active], dtype=np.float64))) for wav in (speech, noise))
    scale = np.sqrt(speech_power / noise_power / 10 ** (snr_db / 10))
    return (speech + scale * noise).astype(np.float32)


def noisy(speech: np.ndarray, active: slice, rng: np.random.Generator, seed: int) -> np.ndarray:
    """Speech in a random background at a random ratio and a random level, as the corpora have it.

    Args:
        speech: (n,) floating point, 16 kHz.
        active: where the speech is.
        rng: draws kind and place of the noise, ratio (``SNR_DB``) and level (``GAIN_DB`` below full scale).
        seed: the corpus' seed; its babble is the same in all files.

    Returns:
        (n,) float32, peak between -12 and 0 dB of 0.95.
    """
    kind = KINDS[rng.integers(len(KINDS))]
    mixed = mix(speech, background(kind, len(speech), rng, seed), rng.uniform(*SNR_DB), active)
    return at_level(mixed, rng)


def at_level(wav: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The waveform with its peak ``GAIN_DB`` below 0.95."""
    gain = 10 ** (rng.uniform(*GAIN_DB) / 20)
    return (wav * (0.95 * gain / max(float(np.abs(wav).max()), 1e-6))).astype(np.float32)


def background(kind: str, n: int, rng: np.random.Generator, seed: int = 0) -> np.ndarray:
    """(n,) float64 noise of one of ``KINDS``, 16 kHz, of unit power on average."""
    if kind == "babble":
        bed = babble(seed)
        start = rng.integers(len(bed))
        return np.take(bed, np.arange(start, start + n), mode="wrap").astype(np.float64)
    return {"white": white, "pink": pink, "hum": hum}[kind](n, rng)


def white(n: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) normal noise."""
    return rng.standard_normal(n)


def pink(n: int, rng: np.random.Generator, rate: int = SAMPLE_RATE) -> np.ndarray:
    """(n,) noise whose power falls by 3 dB per octave above 20 Hz."""
    return shaped(n, rng, lambda hertz: 1 / np.sqrt(np.maximum(hertz, 20)), rate)


def hum(n: int, rng: np.random.Generator, rate: int = SAMPLE_RATE) -> np.ndarray:
    """(n,) mains hum (50 or 60 Hz with falling harmonics) over faint pink noise."""
    mains, times = rng.choice((50.0, 60.0)), np.arange(n) / rate
    tones = sum(rng.uniform(0.3, 1) / k * np.sin(2 * np.pi * (mains * k * times + rng.random())) for k in range(1, 13))
    return unit(unit(tones) + 0.3 * pink(n, rng, rate))


def shaped(n: int, rng: np.random.Generator, amplitude: Callable[[np.ndarray], np.ndarray], rate: int = SAMPLE_RATE) -> np.ndarray:
    """(n,) normal noise filtered to an amplitude response given as a function of (n // 2 + 1,) frequencies in Hz, unit power."""
    spectrum = np.fft.rfft(rng.standard_normal(n)) * amplitude(np.fft.rfftfreq(n, 1 / rate))
    return unit(np.fft.irfft(spectrum, n))


@lru_cache(maxsize=2)
def babble(seed: int, rate: int = SAMPLE_RATE) -> np.ndarray:
    """(about 10 seconds,) float32: six voices that talk at once, unit power."""
    rng = generator(seed, "babble")
    voices = [synthesize(text, _talker(variant, rng), seed, rate).wav for text, variant in zip(_BABBLE_TEXTS, BABBLE, strict=True)]
    longest = max(map(len, voices))
    return unit(sum(np.roll(np.resize(unit(wav), longest), rng.integers(longest)) for wav in voices)).astype(np.float32)


def _talker(variant: str, rng: np.random.Generator) -> Voice:
    return Voice(variant, pitch=rng.uniform(0.85, 1.2), rate=rng.uniform(120, 150), tract=rng.uniform(0.95, 1.05))


def unit(wav: np.ndarray) -> np.ndarray:
    """The waveform with a mean power of 1; silence stays silence."""
    return wav / max(float(np.sqrt(np.mean(np.square(wav, dtype=np.float64)))), 1e-9)
