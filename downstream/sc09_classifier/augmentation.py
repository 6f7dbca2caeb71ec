"""What training hears of a recording: louder, faster, stretched, later, in noise (specs/audio-generation.md, 7).

Each change happens with a chance of one half, independently of the others. Random numbers come from Python's global generator, which
the loader seeds for each item.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from utility.audio.io import audio_info, load_audio

from .features import FRAMES, HOP, SAMPLE_RATE, SAMPLES, LogMel, one_second

CHANCE = 0.5
AMPLITUDE, SPEED, STRETCH, SHIFT, NOISE = (0.7, 1.1), 0.2, 0.2, 8, 0.45


def chance() -> bool:
    """Whether a change happens."""
    return random.random() < CHANCE


def changed_speed(wave: np.ndarray) -> np.ndarray:
    """(N,) -> (M,): speed and pitch together, by linear interpolation, from 1.2 times as long to 0.8 times."""
    step = 1 / (1 + random.uniform(-SPEED, SPEED))
    return np.interp(np.arange(0, len(wave), step), np.arange(len(wave)), wave).astype(np.float32)


def stretched(spectrum: np.ndarray, rate: float) -> np.ndarray:
    """(F, T) -> (F, ceil(T / rate)) complex: the pitch stays; a phase vocoder.

    Magnitudes are interpolated between frames; phases go on from the first frame's by what the frames around a place differ by. Equal to
    ``librosa.phase_vocoder``, whose helper takes many seconds to compile in each process that reads data.
    """
    bins, frames = spectrum.shape
    places = np.arange(0, frames, rate)
    before, part = places.astype(int), (places % 1).astype(np.float32)
    padded = np.pad(spectrum, ((0, 0), (0, 2)))
    left, right = padded[:, before], padded[:, before + 1]
    advance = np.pi * HOP * np.linspace(0, 1, bins)[:, None]  # radians that the middle of each bin goes on by within a hop
    surplus = np.angle(right) - np.angle(left) - advance
    steps = advance + surplus - 2 * np.pi * np.round(surplus / (2 * np.pi))
    phases = np.angle(spectrum[:, :1]) + np.pad(steps[:, :-1], ((0, 0), (1, 0))).cumsum(axis=1)
    return (((1 - part) * np.abs(left) + part * np.abs(right)) * np.exp(1j * phases)).astype(np.complex64)


def shifted(spectrum: np.ndarray) -> np.ndarray:
    """(F, T) -> (F, T): up to eight frames earlier or later, with zeros in their place."""
    frames = random.randint(-SHIFT, SHIFT)
    moved = np.zeros_like(spectrum)
    if frames >= 0:
        moved[:, frames:] = spectrum[:, : spectrum.shape[1] - frames]
    else:
        moved[:, :frames] = spectrum[:, -frames:]
    return moved


def fixed(spectrum: np.ndarray, frames: int = FRAMES) -> np.ndarray:
    """(F, T) -> (F, frames): the beginning, or zeros behind."""
    return np.pad(spectrum[:, :frames], ((0, 0), (0, max(0, frames - spectrum.shape[1]))))


def seconds_of(paths: Sequence[Path]) -> list[tuple[Path, int]]:
    """(recording, second) for each whole second, at least one of each recording."""
    return [(path, second) for path in paths for second in range(max(1, int(audio_info(path).seconds)))]


@dataclass(frozen=True)
class Augmentation:
    """Random changes.

    Args:
        noises: seconds of background noise, see :func:`seconds_of`; none: it is never mixed in.
    """

    noises: Sequence[tuple[Path, int]] = ()

    def __call__(self, wave: np.ndarray, features: LogMel) -> Tensor:
        """(N,) waveform -> (32, 32) in dB."""
        spectrum = self._spectrum(wave, features)
        if self.noises and chance():
            part = random.uniform(0, NOISE)
            spectrum = spectrum * (1 - part) + self._spectrum(self._noise(), features) * part
        return features.of_spectrum(torch.from_numpy(spectrum)[None])[0]

    def _spectrum(self, wave: np.ndarray, features: LogMel) -> np.ndarray:
        if chance():
            wave = wave * np.float32(random.uniform(*AMPLITUDE))
        if chance():
            wave = changed_speed(wave)
        spectrum = features.spectrum(one_second(torch.from_numpy(wave))[None])[0].numpy()
        if chance():
            spectrum = stretched(spectrum, 1 + random.uniform(-STRETCH, STRETCH))
        if chance():
            spectrum = shifted(spectrum)
        return fixed(spectrum).astype(np.complex64, copy=False)

    def _noise(self) -> np.ndarray:
        path, second = random.choice(self.noises)
        return load_audio(path, SAMPLE_RATE, second * SAMPLE_RATE, SAMPLES)
