"""Libri2Mix of speaker diarization: conversations of two speakers in noise, with pauses and partial overlap.

    Libri2Mix/wav16k/max/{train-100,dev,test}/mix_both/<mixture>.wav
    Libri2Mix/wav16k/max/metadata/mixture_{train-100,dev,test}_mix_both.csv
    metadata/LibriSpeech/{train_clean_100,dev_clean,test_clean}.rttm     speech activity of the sources, as in s3prl/LibriMix

In the original a source is one utterance, and all sources begin at once. Here a source is what a speaker says in the whole conversation,
two sentences between pauses, so that about 30 % of the time with speech two speak. Splits share neither speakers nor sentences.
``preprocess/prepare_diarization.py`` turns the corpus into Kaldi folders.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np

from preprocess.mixtures import Mixture, Utterance, conversation
from preprocess.synthesis import texts
from preprocess.synthesis.build import Corpus, Item
from preprocess.synthesis.draws import generator
from preprocess.synthesis.engine import SAMPLE_RATE, Segment, synthesize
from preprocess.synthesis.noise import noisy
from preprocess.synthesis.phones import SILENCE
from preprocess.synthesis.voices import Speaker, speaker, vary
from utility.audio.io import save_audio
from utility.metrics.diarization import merged

ROOT, METADATA = "Libri2Mix", "metadata"
# Part of the corpus -> pool of voices and sentences, name of its speech activity.
PARTS = {"train-100": ("train", "train_clean_100"), "dev": ("dev", "dev_clean"), "test": ("test", "test_clean")}
OVERLAP, SENTENCES = 0.3, 2
_TOGETHER = 4  # mixtures of an item
_SHORT_PAUSE_S = 0.1  # shorter silences within a sentence count as speech
_ACCENTS = ("en-us",)
_COLUMNS = ("mixture_ID", "mixture_path", "source_1_path", "source_2_path", "noise_path", "length")


def speakers_in(part: str, size: int) -> int:
    """``size`` in training, a quarter as many in each other part, at least two."""
    return size if part == "train-100" else max(2, math.ceil(size / 4))


def mixtures_in(part: str, size: int) -> int:
    """Eight for each training speaker and four for each other one; two for each in corpora of up to 4 training speakers."""
    each = 2 if size <= 4 else 8 if part == "train-100" else 4
    return each * speakers_in(part, size)


def speaker_id(part: str, index: int) -> int:
    """The reader's number; parts interleave."""
    return 100 + 3 * index + list(PARTS).index(part)


def plan(size: int) -> list[Item]:
    """One item for every four mixtures."""
    return [Item("mixtures", part, index, _TOGETHER) for part in PARTS for index in range(math.ceil(mixtures_in(part, size) / _TOGETHER))]


def render(item: Item, size: int, seed: int, out: Path) -> dict[str, Any]:
    """Writes up to four mixtures."""
    mixtures = []
    for number in range(item.index * _TOGETHER, min(mixtures_in(item.split, size), (item.index + 1) * _TOGETHER)):
        rng = generator(seed, "mixture", item.split, number)
        pair = _pair(generator(seed, "pair", item.split, number), number, speakers_in(item.split, size))
        mixture = spoken(item.split, pair, rng, seed)
        sources = {index: f"{speaker_id(item.split, index)}-{1000 * speaker_id(item.split, index)}-{number:04d}" for index in pair}
        name = "_".join(sources.values())
        save_audio(out / ROOT / "wav16k/max" / item.split / "mix_both" / f"{name}.wav", mixture.wav, SAMPLE_RATE)
        turns = {sources[index]: np.round(mixture.turns[str(index)], 3).tolist() for index in pair}
        mixtures.append({"name": name, "samples": len(mixture.wav), "turns": turns})
    return {"part": item.split, "mixtures": mixtures}


def _pair(rng: np.random.Generator, number: int, speakers: int) -> tuple[int, int]:
    """Every speaker in turn, with any other one."""
    first = number % speakers
    return first, (first + int(rng.integers(1, speakers))) % speakers


def spoken(part: str, pair: tuple[int, int], rng: np.random.Generator, seed: int) -> Mixture:
    """Two sentences of each of two speakers, mixed, in noise of 5 to 25 dB."""
    pool = PARTS[part][0]
    utterances = [sentence(speaker(seed, pool, index, _ACCENTS), str(index), rng) for index in pair for _ in range(SENTENCES)]
    mixture = conversation(rng, utterances, OVERLAP * rng.uniform(0.5, 1.5))
    wav = noisy(mixture.wav, slice(None), rng, seed)
    return Mixture(wav, mixture.turns, mixture.sources)


def sentence(who: Speaker, name: str, rng: np.random.Generator) -> Utterance:
    """One sentence with its speech activity."""
    said = synthesize(texts.sentence(rng, who.split), vary(who.voice, rng), int(rng.integers(2**31)))
    return Utterance(said.wav, SAMPLE_RATE, activity(said.phones), name)


def activity(phones: list[Segment]) -> np.ndarray:
    """(m, 2) seconds of everything that is no pause of a tenth of a second or more."""
    speech = np.array([(start, end) for start, end, phone in phones if phone != SILENCE])
    half = np.array([_SHORT_PAUSE_S / 2, -_SHORT_PAUSE_S / 2])
    return merged(speech - half) + half


def finish(records: dict[str, dict[str, Any]], size: int, seed: int, out: Path) -> None:
    """Tables of the mixtures and speech activity of the sources."""
    (out / METADATA / "LibriSpeech").mkdir(parents=True, exist_ok=True)
    for part, (_, stem) in PARTS.items():
        mixtures = [mixture for record in records.values() if record["part"] == part for mixture in record["mixtures"]]
        _write_table(out / ROOT / "wav16k/max/metadata" / f"mixture_{part}_mix_both.csv", part, mixtures)
        lines = [line for mixture in mixtures for source, turns in mixture["turns"].items() for line in _activity_lines(source, turns)]
        (out / METADATA / "LibriSpeech" / f"{stem}.rttm").write_text("".join(lines))


def _write_table(path: Path, part: str, mixtures: list[dict[str, Any]]) -> None:
    """Sources and noise are named as in the original, and are not written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(_COLUMNS)
        for mixture in mixtures:
            folders = (f"{ROOT}/wav16k/max/{part}/{kind}/{mixture['name']}.wav" for kind in ("mix_both", "s1", "s2", "noise"))
            table.writerow([mixture["name"], *folders, mixture["samples"]])


def _activity_lines(source: str, turns: list[list[float]]) -> list[str]:
    reader, rest = source.split("-", 1)
    return [f"SPEAKER {rest} 1 {start:.3f} {end - start:.3f} <NA> <NA> {reader} <NA> <NA>\n" for start, end in turns]


CORPUS = Corpus("libri2mix", (ROOT, METADATA), {"tiny": 2, "small": 60, "medium": 300}, plan, render, finish)
