"""Valentini's noisy speech (VoiceBank-DEMAND, DataShare 10283/2791): clean and noisy recordings of the same sentences.

    clean_trainset_28spk_wav/pSSS_UUU.wav   noisy_trainset_28spk_wav/   trainset_28spk_txt/pSSS_UUU.txt      48 kHz, 16 bit
    clean_testset_wav/                      noisy_testset_wav/          testset_txt/
    log_trainset_28spk.txt, log_testset.txt     lines "pSSS_UUU noise SNR"

As in the original, training has ten noises at 0, 5, 10 and 15 dB, and the test two speakers and five noises that training does not have,
at 2.5, 7.5, 12.5 and 17.5 dB; each speaker goes through the combinations in an order of its own. p226 and p287, whom many hold out for
validation, have voices of the validation pool. ``valentini_56`` is the same with 56 speakers and their folder names.
"""

from __future__ import annotations

from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from preprocess.synthesis import texts
from preprocess.synthesis.build import Corpus, Item
from preprocess.synthesis.draws import generator
from preprocess.synthesis.engine import synthesize
from preprocess.synthesis.noise import mix
from preprocess.synthesis.scenes import TEST, TRAIN, recording
from preprocess.synthesis.voices import Speaker, speaker, vary
from utility.audio.io import find_audio, load_audio, save_audio
from utility.errors import DataError

SAMPLE_RATE = 48000
HELD_OUT = ("p226", "p287")
_OTHERS = (227, 228, 230, 231, 233, 236, 239, 243, 244, 250, 254, 256, 258, 259, 267, 268, 269, 270, 273, 274, 276, 277, 278, 279, 282, 286)
SPEAKERS = (*HELD_OUT, *(f"p{number}" for number in _OTHERS))
SPEAKERS_56 = (*SPEAKERS, *(f"p{number}" for number in range(301, 329)))
TEST_SPEAKERS = {"p232": 1, "p257": 0}  # a man and a woman: places in the pool of voices
SNR_DB = {"train": (0.0, 5.0, 10.0, 15.0), "test": (2.5, 7.5, 12.5, 17.5)}
SIZES = {"tiny": 3, "small": 10, "medium": 40}
FEW = 6  # training speakers of corpora with up to 4 utterances of each
_MARGIN_S, _PEAK_DB, _HIGHEST, _TRIES = (0.15, 0.45), (-12.0, -3.0), 0.98, 100


def part_name(split: str, speakers: int) -> str:
    """``trainset_28spk``, ``trainset_56spk`` or ``testset``: what folders and lists of a split are called by."""
    return "testset" if split == "test" else f"trainset_{speakers}spk"


def plan(size: int, names: tuple[str, ...] = SPEAKERS) -> list[Item]:
    """One item per speaker: ``size`` utterances in training, twice as many in the test."""
    chosen = names if size > 4 else names[:FEW]
    train = [Item(name, "train", index, 2 * size) for index, name in enumerate(chosen)]
    return train + [Item(name, "test", index, 4 * size) for name, index in TEST_SPEAKERS.items()]


def render(item: Item, size: int, seed: int, out: Path, speakers: int = len(SPEAKERS), noises: Path | None = None) -> dict[str, Any]:
    """Writes the recordings of one speaker; the record has a line of the list for each."""
    who, part = voice_of(item, seed), part_name(item.split, speakers)
    conditions, found = _conditions(item, seed, noises), []
    for number in range(2 * size if item.split == "test" else size):
        name = f"{item.kind}_{number + 1:03d}"
        rng = generator(seed, "valentini", item.kind, number)
        noise, snr_db = conditions[number % len(conditions)]
        text, clean, noisy = pair(who, noise, snr_db, rng, seed)
        save_audio(out / f"clean_{part}_wav" / f"{name}.wav", clean, SAMPLE_RATE)
        save_audio(out / f"noisy_{part}_wav" / f"{name}.wav", noisy, SAMPLE_RATE)
        (out / f"{part}_txt").mkdir(parents=True, exist_ok=True)
        (out / f"{part}_txt" / f"{name}.txt").write_text(f"{text}\n")
        found.append(f"{name} {Path(noise).stem} {snr_db:g}")
    return {"part": part, "lines": found}


def voice_of(item: Item, seed: int) -> Speaker:
    """Voices of the test are heard in the test only, those of ``HELD_OUT`` in no other speaker."""
    pool = "test" if item.split == "test" else "dev" if item.kind in HELD_OUT else "train"
    return speaker(seed, pool, item.index)


def _conditions(item: Item, seed: int, noises: Path | None) -> list[tuple[str, float]]:
    """All pairs of a noise and a ratio, in the speaker's own order."""
    names = [*(TEST if item.split == "test" else TRAIN), *(map(str, recorded(noises, item.split)) if noises else ())]
    pairs = list(product(names, SNR_DB[item.split]))
    return [pairs[index] for index in generator(seed, "conditions", item.kind).permutation(len(pairs))]


def recorded(folder: Path, split: str) -> list[Path]:
    """Recordings of noise for a split: every third file of the folder is for the test, the others for training.

    Raises:
        DataError: fewer than two files, so that one split would have none.
    """
    files = find_audio(folder)
    if len(files) < 2:
        raise DataError(f"folder {folder} has {len(files)} audio files; noises need at least two, so that the test has one of its own")
    return [path for index, path in enumerate(files) if (index % 3 == 1) == (split == "test")]


def pair(who: Speaker, noise: str, snr_db: float, rng: np.random.Generator, seed: int) -> tuple[str, np.ndarray, np.ndarray]:
    """A sentence, its clean recording and its noisy one: both (n,) float32, 48 kHz, with the speech at the same level.

    Args:
        who: the speaker.
        noise: a scene's name or the path of a recording.
        snr_db: ratio of the mean powers while the speaker speaks.
        rng: draws the sentence, its rendering, level and pauses, and the part of the noise.
        seed: the corpus' seed.
    """
    text = texts.sentence(rng, who.split)
    said = synthesize(text, vary(who.voice, rng), int(rng.integers(2**31)), SAMPLE_RATE)
    before, after = (int(second * SAMPLE_RATE) for second in rng.uniform(*_MARGIN_S, 2))
    clean = np.pad(said.wav, (before, after))
    clean = clean * (10 ** (rng.uniform(*_PEAK_DB) / 20) / max(float(np.abs(clean).max()), 1e-6))
    start, end = said.speech
    active = slice(before + int(start * SAMPLE_RATE), before + int(end * SAMPLE_RATE))
    noisy = mix(clean, _part(_noise(noise, seed), len(clean), rng), snr_db, active)
    scale = min(1.0, _HIGHEST / float(np.abs(noisy).max()))
    return text, (scale * clean).astype(np.float32), (scale * noisy).astype(np.float32)


def _noise(name: str, seed: int) -> np.ndarray:
    return recording(name, seed, SAMPLE_RATE) if name in TRAIN or name in TEST else load_audio(name, SAMPLE_RATE)


def _part(noise: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """``n`` samples from anywhere in the recording, which begins again at its end; where it pauses, another place is tried."""
    usual = float(np.mean(np.square(noise, dtype=np.float64)))
    for _ in range(_TRIES):
        start = rng.integers(len(noise))
        part = np.take(noise, np.arange(start, start + n), mode="wrap")
        if np.mean(np.square(part, dtype=np.float64)) > 0.01 * usual > 0:
            return part
    raise DataError("a recording of noise is silent, or nearly everywhere; leave it out of the folder of --noises")


def finish(records: dict[str, dict[str, Any]], size: int, seed: int, out: Path) -> None:
    """The lists of noises and ratios."""
    for part in {record["part"] for record in records.values()}:
        lines = [line for record in records.values() if record["part"] == part for line in record["lines"]]
        (out / f"log_{part}.txt").write_text("".join(f"{line}\n" for line in sorted(lines)))


def corpus(name: str, names: tuple[str, ...], noises: Path | None = None) -> Corpus:
    """The corpus with these training speakers, and the recordings of a folder among its noises."""
    parts = [part_name(split, len(names)) for split in ("train", "test")]
    roots = [root for part in parts for root in (f"clean_{part}_wav", f"noisy_{part}_wav", f"{part}_txt", f"log_{part}.txt")]
    drawn = partial(render, speakers=len(names), noises=noises)
    return Corpus(name, tuple(roots), SIZES, partial(plan, names=names), drawn, finish, partial(corpus, name, names))


CORPUS = corpus("valentini", SPEAKERS)
