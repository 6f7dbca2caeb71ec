"""Speech Commands v0.01 and its test archive.

Layout, and the split by the hash of the speaker, as in the original (specs of the keyword-spotting task): 30 words, clips of one second
(one in ten is shorter), six long background noises, and a test archive of twelve folders whose speakers are those that the hash puts
into the testing part.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from preprocess.synthesis import backgrounds
from preprocess.synthesis.build import Corpus, Item
from preprocess.synthesis.draws import generator
from preprocess.synthesis.engine import SAMPLE_RATE, synthesize
from preprocess.synthesis.noise import at_level, noisy
from preprocess.synthesis.voices import Speaker, speaker, vary
from utility.audio.io import save_audio

KEYWORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
OTHER_WORDS = (
    *("bed", "bird", "cat", "dog", "eight", "five", "four", "happy", "house", "marvin"),
    *("nine", "one", "seven", "sheila", "six", "three", "tree", "two", "wow", "zero"),
)
MAIN, TEST = "speech_commands_v0.01", "speech_commands_test_set_v0.01"
UNKNOWN, SILENCE = "_unknown_", "_silence_"
# The voices' pools by the part that the official hash rule gives.
_POOLS = {"training": "train", "validation": "dev", "testing": "test"}
_SECOND_TAKE, _SHORT = 0.3, 0.1


def part_of(speaker_hash: str) -> str:
    """``"training"``, ``"validation"`` or ``"testing"``: the official rule on the part of the file name before ``_nohash_``."""
    number = int(hashlib.sha1(speaker_hash.encode()).hexdigest(), 16)
    percentage = (number % 2**27) * (100 / (2**27 - 1))
    return "validation" if percentage < 10 else "testing" if percentage < 20 else "training"


def speaker_hash(seed: int, part: str, index: int) -> str:
    """Eight hexadecimal digits that the official rule puts into ``part``."""
    attempt = 0
    while part_of(name := hashlib.sha1(f"{seed} {part} {index} {attempt}".encode()).hexdigest()[:8]) != part:
        attempt += 1
    return name


def takes_of(seed: int, part: str, index: int, word: str) -> int:
    """How often a speaker says a word: once, or twice in 30 % of the cases."""
    return 1 + int(generator(seed, "takes", part, index, word).random() < _SECOND_TAKE)


def clip(word: str, who: Speaker, seed: int, take: int) -> np.ndarray:
    """One recording of a word.

    Returns:
        (16000,) float32 mostly, shorter in one case of ten: the word somewhere within, in noise; a longer word loses its ends.
    """
    rng = generator(seed, "clip", who.split, who.index, word, take)
    text = word + ("", "!", "?")[rng.integers(3)]
    spoken = synthesize(text, vary(who.voice, rng), int(rng.integers(2**31)))
    start, end = (int(second * SAMPLE_RATE) for second in spoken.speech)
    length = int(rng.uniform(0.6, 1) * SAMPLE_RATE) if rng.random() < _SHORT else SAMPLE_RATE
    wav, active = place(spoken.wav[start:end], length, rng)
    return noisy(wav, active, rng, seed)


def place(speech: np.ndarray, length: int, rng: np.random.Generator) -> tuple[np.ndarray, slice]:
    """Puts speech at a random place of a silent clip; of longer speech the middle is kept.

    Returns:
        (length,) float32, and where the speech is.
    """
    surplus = max(0, len(speech) - length)
    speech = speech[surplus // 2 : len(speech) - (surplus - surplus // 2)]
    start = int(rng.integers(length - len(speech) + 1))
    wav = np.zeros(length, np.float32)
    wav[start : start + len(speech)] = speech
    return wav, slice(start, start + len(speech))


def plan(size: int) -> list[Item]:
    """One item per speaker (``size`` in training, a fifth of it in validation and testing each) and one for the noises."""
    return [Item("noises", "", 0, len(backgrounds.GENERATORS)), *speakers(size, KEYWORDS + OTHER_WORDS)]


def speakers(size: int, words: Sequence[str]) -> list[Item]:
    """One item per speaker who says these words: ``size`` in training, a fifth of it in validation and testing each."""
    counts = {"training": size, "validation": math.ceil(size / 5), "testing": math.ceil(size / 5)}
    files = round(len(words) * (1 + _SECOND_TAKE))
    return [Item("speaker", part, index, files) for part, count in counts.items() for index in range(count)]


def render(item: Item, size: int, seed: int, out: Path) -> dict[str, Any]:
    """Writes all words of one speaker, or the noises."""
    return _render_noises(size, seed, out) if item.kind == "noises" else _render_speaker(item, seed, out)


def say(item: Item, words: Sequence[str], seed: int, folder: Path) -> dict[str, np.ndarray]:
    """Writes the words of one speaker as ``<folder>/<word>/<hash>_nohash_<take>.wav``; the waveforms by their paths there."""
    who, name = speaker(seed, _POOLS[item.split], item.index), speaker_hash(seed, item.split, item.index)
    files = {}
    for word in words:
        for take in range(takes_of(seed, item.split, item.index, word)):
            wav, file = clip(word, who, seed, take), f"{name}_nohash_{take}.wav"
            save_audio(folder / word / file, wav, SAMPLE_RATE)
            files[f"{word}/{file}"] = wav
    return files


def _render_speaker(item: Item, seed: int, out: Path) -> dict[str, Any]:
    files = say(item, KEYWORDS + OTHER_WORDS, seed, out / MAIN)
    if item.split == "testing":
        name = speaker_hash(seed, item.split, item.index)
        _copy_to_test(files, name, generator(seed, "unknown", item.index), out)
    return {"part": item.split, "files": sorted(files)}


def _copy_to_test(files: dict[str, np.ndarray], name: str, rng: np.random.Generator, out: Path) -> None:
    """The keywords of a test speaker go into the test archive, and as many of the other words as there are files of one keyword."""
    for path, wav in files.items():
        if path.split("/")[0] in KEYWORDS:
            save_audio(out / TEST / path, wav, SAMPLE_RATE)
    others = [path for path in sorted(files) if path.split("/")[0] in OTHER_WORDS]
    count = 1 + int(rng.random() < _SECOND_TAKE)
    for number, chosen in enumerate(rng.choice(len(others), count, replace=False)):
        save_audio(out / TEST / UNKNOWN / f"{name}_nohash_{number}.wav", files[others[chosen]], SAMPLE_RATE)


def _render_noises(size: int, seed: int, out: Path) -> dict[str, Any]:
    """The background noises, 30 s each (4 s in corpora of up to 4 training speakers), and the test archive's silences cut from them."""
    seconds = 4 if size <= 4 else 30
    noises = {name: backgrounds.background(name, seconds * SAMPLE_RATE, seed) for name in backgrounds.GENERATORS}
    for name, wav in noises.items():
        save_audio(out / MAIN / "_background_noise_" / f"{name}.wav", wav, SAMPLE_RATE)
    for number in range(max(2, round(math.ceil(size / 5) * (1 + _SECOND_TAKE)))):
        rng = generator(seed, "silence", number)
        wav = noises[sorted(noises)[rng.integers(len(noises))]]
        start = int(rng.integers(len(wav) - SAMPLE_RATE + 1))
        save_audio(out / TEST / SILENCE / f"{number}.wav", at_level(wav[start : start + SAMPLE_RATE], rng), SAMPLE_RATE)
    return {}


def finish(records: dict[str, dict[str, Any]], size: int, seed: int, out: Path) -> None:
    """The official lists of the validation and testing files."""
    write_lists(records, out / MAIN)


def write_lists(records: dict[str, dict[str, Any]], folder: Path) -> None:
    """``validation_list.txt`` and ``testing_list.txt`` of the records that :func:`render` gave."""
    for part in ("validation", "testing"):
        files = sorted(file for record in records.values() if record.get("part") == part for file in record["files"])
        (folder / f"{part}_list.txt").write_text("".join(f"{file}\n" for file in files))


CORPUS = Corpus("speech_commands", (MAIN, TEST), {"tiny": 2, "small": 56, "medium": 300}, plan, render, finish)
