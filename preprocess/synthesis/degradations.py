"""Speech made worse in five measured ways, and what listeners think of it.

The ways, their ranges and the formula of quality are fixed: corpora made with them must stay comparable.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import scipy.signal

from preprocess.synthesis.engine import SAMPLE_RATE
from preprocess.synthesis.noise import KINDS, background, mix

MOST_DB, DB_RANGE = 35.0, 40.0
MOST_CLIPPED = 0.25
WIDEST_HZ, OCTAVES = 8000.0, 3.0
MOST_BITS, BITS_RANGE = 8, 5
MOST_LOST, PACKET_S, STAYS_LOST = 0.3, 0.02, 0.5
# Of each way: how much of the quality its worst takes away, and how the loss bends.
WEIGHTS = {"noise": (0.9, 1.0), "clipping": (0.6, 0.8), "band": (0.7, 1.2), "codec": (0.7, 1.0), "loss": (0.85, 0.7)}


@dataclass(frozen=True)
class Degradation:
    """How much of each, from 0 (none) to 1.

    Args:
        noise: ratio of speech to noise, from 35 to -5 dB.
        clipping: share of clipped samples, up to a quarter.
        band: highest frequency, from 8000 down to 1000 Hz.
        codec: bits of mu-law quantisation, from 8 to 3.
        loss: share of lost packets of 20 ms, up to 0.3, in bursts.
        kind: of the noise.
    """

    noise: float = 0.0
    clipping: float = 0.0
    band: float = 0.0
    codec: float = 0.0
    loss: float = 0.0
    kind: str = KINDS[0]

    @property
    def snr_db(self) -> float:
        """Ratio of speech to noise; that of the least noise where there is none."""
        return MOST_DB - DB_RANGE * self.noise

    @property
    def quality(self) -> float:
        """What listeners think of it on average, from 1 to 5: every way takes a share of what the others leave."""
        left = 1.0
        for way, (share, bend) in WEIGHTS.items():
            left *= 1 - share * getattr(self, way) ** bend
        return 1 + 4 * left


WAYS = tuple(field.name for field in fields(Degradation) if field.name in WEIGHTS)


def drawn(rng: np.random.Generator, clean: float = 0.08, always: str | None = None) -> Degradation:
    """A random degradation of one to three ways, or none.

    Args:
        rng: the randomness.
        clean: probability of none.
        always: a way that is always there.
    """
    if always is None and rng.random() < clean:
        return Degradation()
    count = int(rng.integers(1, 4))
    ways = [str(way) for way in rng.permutation([way for way in WAYS if way != always])]
    ways = [always, *ways][:count] if always else ways[:count]
    return Degradation(**{way: float(rng.uniform(0.05, 1)) for way in ways}, kind=str(rng.choice(KINDS)))


def degraded(speech: np.ndarray, active: slice, how: Degradation, rng: np.random.Generator, seed: int) -> np.ndarray:
    """(n,) float32 at 16 kHz, in the order of a call: noise, clipping, band, codec, lost packets.

    Args:
        speech: (n,) floating point, 16 kHz.
        active: where it is speech.
        how: what happens to it.
        rng: draws the noise and the lost packets.
        seed: of the corpus, for its babble.
    """
    wav = np.asarray(speech, np.float64)
    if how.noise:
        wav = mix(wav, background(how.kind, len(wav), rng, seed), how.snr_db, active).astype(np.float64)
    if how.clipping:
        wav = clipped(wav, MOST_CLIPPED * how.clipping, active)
    if how.band:
        wav = band_limited(wav, WIDEST_HZ * 2 ** (-OCTAVES * how.band))
    if how.codec:
        wav = quantised(wav, round(MOST_BITS - BITS_RANGE * how.codec))
    if how.loss:
        wav = without_packets(wav, MOST_LOST * how.loss, rng)
    return wav.astype(np.float32)


def reverberated(speech: np.ndarray, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """(n,) speech in a room whose reverberation, as strong as the direct sound, falls by 60 dB in this time.

    Args:
        speech: (n,) floating point, 16 kHz.
    """
    time = np.arange(1, round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tail = rng.standard_normal(len(time)) * 10 ** (-3 * time / seconds)
    response = np.concatenate([[1.0], tail / np.sqrt(np.square(tail).sum())])
    return scipy.signal.fftconvolve(speech, response)[: len(speech)].astype(np.float32)


def clipped(wav: np.ndarray, share: float, active: slice) -> np.ndarray:
    """The waveform with this share of the samples of ``active`` at the limit."""
    limit = float(np.quantile(np.abs(wav[active]), 1 - share))
    return np.clip(wav, -limit, limit)


def band_limited(wav: np.ndarray, hertz: float) -> np.ndarray:
    """The waveform without what lies above a frequency."""
    spectrum = np.fft.rfft(wav)
    spectrum[np.fft.rfftfreq(len(wav), 1 / SAMPLE_RATE) > hertz] = 0
    return np.fft.irfft(spectrum, len(wav))


def quantised(wav: np.ndarray, bits: int, mu: float = 255.0) -> np.ndarray:
    """The waveform after mu-law companding with few bits, full scale at its peak."""
    peak = max(float(np.abs(wav).max()), 1e-9)
    companded = np.sign(wav) * np.log1p(mu * np.abs(wav) / peak) / np.log1p(mu)
    levels = 2 ** (bits - 1) - 0.5
    companded = np.clip(np.round(companded * levels) / levels, -1, 1)
    return np.sign(companded) * np.expm1(np.abs(companded) * np.log1p(mu)) / mu * peak


def without_packets(wav: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """The waveform with about this share of its packets silent; a packet after a lost one is lost more often."""
    size = round(PACKET_S * SAMPLE_RATE)
    begins = share * (1 - STAYS_LOST) / (1 - share)
    kept, lost = wav.copy(), False
    for start in range(0, len(wav), size):
        lost = bool(rng.random() < (STAYS_LOST if lost else begins))
        if lost:
            kept[start : start + size] = 0
    return kept
