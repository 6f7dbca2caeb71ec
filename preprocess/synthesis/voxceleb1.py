"""VoxCeleb1 with its lists, for speaker identification and verification.

    VoxCeleb1/dev/wav/<speaker>/<video>/<number>.wav        speakers for training, and those of the development trials
    VoxCeleb1/test/wav/...                                  speakers that only the test trials have
    voxceleb1/veri_test_class.txt                           identification: "1|2|3 <path>" = train, dev, test; whole videos, all speakers
    sv_voxceleb1/voxceleb1_test_v2.txt                      verification: "1|0 <path> <path>" among the test speakers
    sv_voxceleb1/dev_meta_data/dev_meta_data.txt            the same among the development speakers

Speakers have the numbers of the original: id10270 to id10309 are the test's. The videos of the three parts of the identification share no
sentence. Voices of training, development trials and test come from disjoint pools.
"""

from __future__ import annotations

import base64
import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np

from preprocess.synthesis import texts
from preprocess.synthesis.build import Corpus, Item
from preprocess.synthesis.draws import generator
from preprocess.synthesis.engine import SAMPLE_RATE, synthesize
from preprocess.synthesis.librispeech import with_margins
from preprocess.synthesis.noise import noisy
from preprocess.synthesis.voices import Speaker, speaker, vary
from utility.audio.io import save_audio

ROOT, IDENTIFICATION, VERIFICATION = "VoxCeleb1", "voxceleb1", "sv_voxceleb1"
SPLIT_FILE = f"{IDENTIFICATION}/veri_test_class.txt"
TRIALS = {"test": f"{VERIFICATION}/voxceleb1_test_v2.txt", "dev": f"{VERIFICATION}/dev_meta_data/dev_meta_data.txt"}
CODES = {"train": 1, "dev": 2, "test": 3}
_FIRST, _FIRST_TEST, _TEST_SPEAKERS = 10001, 10270, 40
_LEAST_S, _MARGIN_S = 3.5, (0.1, 0.4)
_TRIALS_PER_UTTERANCE = 4  # of each kind


def counts(size: int) -> dict[str, int]:
    """Speakers by pool of voices: ``size`` for training, a quarter of it (2 to 40) for the trials of development and of test each."""
    trialled = min(_TEST_SPEAKERS, max(2, math.ceil(size / 4)))
    return {"train": size, "dev": trialled, "test": trialled}


def speaker_name(size: int, pool: str, index: int) -> str:
    """``idNNNNN``; those of the development trials follow those of training."""
    if pool == "test":
        return f"id{_FIRST_TEST + index}"
    number = _FIRST + index + (size if pool == "dev" else 0)
    return f"id{number if number < _FIRST_TEST else number + _TEST_SPEAKERS}"


def videos(size: int) -> list[str]:
    """The part of the identification split of each of a speaker's videos."""
    return ["train", "dev", "test"] if size <= 4 else ["train", "train", "train", "dev", "test"]


def video_name(seed: int, pool: str, index: int, number: int) -> str:
    """Eleven characters, as videos have them."""
    digest = hashlib.sha1(f"{seed} {pool} {index} {number}".encode()).digest()
    return base64.urlsafe_b64encode(digest)[:11].decode()


_UTTERANCES_PER_VIDEO = 2


def plan(size: int) -> list[Item]:
    """One item per speaker."""
    files = _UTTERANCES_PER_VIDEO * len(videos(size))
    return [Item("speaker", pool, index, files) for pool, count in counts(size).items() for index in range(count)]


def render(item: Item, size: int, seed: int, out: Path) -> dict[str, Any]:
    """Writes all utterances of a speaker."""
    who, name = speaker(seed, item.split, item.index), speaker_name(size, item.split, item.index)
    folder, files = out / ROOT / ("test" if item.split == "test" else "dev") / "wav", []
    for number, part in enumerate(videos(size)):
        video = video_name(seed, item.split, item.index, number)
        for take in range(1, 1 + _UTTERANCES_PER_VIDEO):
            path = f"{name}/{video}/{take:05d}.wav"
            save_audio(folder / path, recording(who, seed, number, take, part), SAMPLE_RATE)
            files.append([CODES[part], path])
    return {"pool": item.split, "speaker": name, "files": files}


def recording(who: Speaker, seed: int, video: int, take: int, part: str) -> np.ndarray:
    """(n,) float32 at 16 kHz, about four seconds and more: sentences in noise, with a short pause before and after."""
    rng = generator(seed, "utterance", who.split, who.index, video, take)
    voice, said, wav = vary(who.voice, rng), [], np.zeros(0, np.float32)
    while len(wav) < _LEAST_S * SAMPLE_RATE:
        said.append(texts.sentence(rng, part))
        wav, phones = with_margins(synthesize(". ".join(said), voice, int(rng.integers(2**31))), *rng.uniform(*_MARGIN_S, 2))
    return noisy(wav, slice(*(int(second * SAMPLE_RATE) for second in (phones[0].end, phones[-1].start))), rng, seed)


def finish(records: dict[str, dict[str, Any]], size: int, seed: int, out: Path) -> None:
    """The identification split and both lists of trials."""
    lines = sorted((path, code) for record in records.values() for code, path in record["files"])
    _write(out / SPLIT_FILE, [f"{code} {path}" for path, code in lines])
    for pool, file in TRIALS.items():
        spoken = {record["speaker"]: [path for _, path in record["files"]] for record in records.values() if record["pool"] == pool}
        _write(out / file, trials(spoken, generator(seed, "trials", pool)))


def trials(spoken: dict[str, list[str]], rng: np.random.Generator) -> list[str]:
    """Each utterance with up to four others of its speaker and as many of others; no pair comes twice.

    Args:
        spoken: utterances by speaker, two speakers or more.
        rng: the randomness.
    """
    found: dict[tuple[str, ...], str] = {}
    for name, own in spoken.items():
        others = [path for other, paths in spoken.items() if other != name for path in paths]
        for path in own:
            for label, candidates in ((1, [p for p in own if p != path]), (0, others)):
                for index in rng.permutation(len(candidates))[:_TRIALS_PER_UTTERANCE]:
                    found.setdefault(tuple(sorted((path, candidates[index]))), f"{label} {path} {candidates[index]}")
    return list(found.values())


def _write(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


CORPUS = Corpus("voxceleb1", (ROOT, IDENTIFICATION, VERIFICATION), {"tiny": 3, "small": 60, "medium": 300}, plan, render, finish)
