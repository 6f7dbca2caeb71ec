"""Speech that is made of tones: each letter is one, so that little has to be learned."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.downstream.librispeech import Layout, measured, write_utterances

WORDS = ("GO", "IT'S", "BETA", "ZOO", "HI", "QUIZ", "JAM", "FLY", "WORD", "PACK", "VEX", "NUN")
SYMBOLS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ' "
RATE, LETTER = 16000, 1600


def spell(text: str, rng: np.random.Generator) -> np.ndarray:
    """A text at 16 kHz: 0.1 s per letter, a tone of its own with its fifth, in a little noise."""
    places = [SYMBOLS.index(letter) for letter in f"{text} "]
    time = np.arange(LETTER) / RATE
    shape = np.hanning(LETTER)
    tones = [np.sin(2 * np.pi * hz * time) * shape for hz in (200 * 1.13**place for place in places)]
    return (0.3 * np.concatenate(tones) + rng.normal(0, 0.005, LETTER * len(places))).astype(np.float32)


def sentences(rng: np.random.Generator, count: int) -> list[str]:
    """Texts of one to three words."""
    return [" ".join(rng.choice(WORDS, rng.integers(1, 4))) for _ in range(count)]


def lay_out(out: Path, sizes: dict[str, int], seed: int = 0) -> Layout:
    """Spelled texts in the layout of LibriSpeech; ``sizes`` says how many of them each split has."""
    rng = np.random.default_rng(seed)
    for speaker, (split, count) in enumerate(sizes.items()):
        texts = sentences(rng, count)
        write_utterances(out / "LibriSpeech", split, speaker + 1, 1, ((spell(text, rng), text) for text in texts))
    return measured(out / "LibriSpeech")
