"""Fluent Speech Commands: what to do (action), with what (object), where (location).

    fluent_speech_commands_dataset/wavs/speakers/<speaker>/<name>.wav       16 kHz, 16 bit
    fluent_speech_commands_dataset/data/{train,valid,test}_data.csv         index, path, speakerId, transcription, action, object, location

It has the original's 31 meanings in wordings of our own. Every speaker says each meaning once; the splits share no speaker. Wordings are
shared, as in the original.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from preprocess.synthesis.build import Corpus, Item
from preprocess.synthesis.draws import generator
from preprocess.synthesis.engine import SAMPLE_RATE, synthesize
from preprocess.synthesis.librispeech import with_margins
from preprocess.synthesis.noise import noisy
from preprocess.synthesis.voices import Speaker, speaker, vary
from utility.audio.io import save_audio

ROOT = "fluent_speech_commands_dataset"
COLUMNS = ("", "path", "speakerId", "transcription", "action", "object", "location")
_POOL = {"train": "train", "valid": "dev", "test": "test"}
_MARGIN_S = (0.1, 0.4)
Meaning = tuple[str, str, str]

PLACES, LANGUAGES, THINGS = ("bedroom", "kitchen", "washroom"), ("Chinese", "English", "German", "Korean"), ("newspaper", "shoes", "socks")
SWITCHES = {"activate": ("on", "start", "play some"), "deactivate": ("off", "stop", "pause the")}
DEGREES = {"increase": ("up", "warmer", "louder", "raise"), "decrease": ("down", "colder", "quieter", "lower")}


@lru_cache(maxsize=1)
def wordings() -> dict[Meaning, tuple[str, ...]]:
    """The sentences of each meaning."""
    found: dict[Meaning, tuple[str, ...]] = {}
    for action, (way, begin, perform) in SWITCHES.items():
        found[action, "lamp", "none"] = (f"turn {way} the lamp", f"switch {way} the lamp", f"lamp {way}")
        found[action, "music", "none"] = (f"turn {way} the music", f"{begin} the music", f"{perform} music")
        found |= _everywhere(action, "lights", (f"turn {way} the lights", f"switch the lights {way}", f"lights {way}"))
    for action, (way, feeling, hearing, verb) in DEGREES.items():
        found[action, "volume", "none"] = (f"turn {way} the volume", f"{verb} the volume", f"make it {hearing}", f"{hearing} please")
        found |= _everywhere(action, "heat", (f"turn {way} the heat", f"{verb} the temperature", f"make it {feeling}"))
    found["bring", "juice", "none"] = ("bring me some juice", "get me the juice", "fetch me juice")
    for thing in THINGS:
        found["bring", thing, "none"] = (f"bring me the {thing}", f"get my {thing}", f"fetch the {thing}")
    found["change language", "none", "none"] = ("change the language", "open the language settings", "use another language")
    for language in LANGUAGES:
        found["change language", language, "none"] = (f"set the language to {language}", f"switch to {language}", f"speak {language}")
    return found


def _everywhere(action: str, thing: str, sentences: tuple[str, ...]) -> dict[Meaning, tuple[str, ...]]:
    """The same with no place and in each place."""
    placed = {
        (action, thing, place): tuple(
            said for sentence in sentences for said in (f"{sentence} in the {place}", f"in the {place} {sentence}")
        )
        for place in PLACES
    }
    return {(action, thing, "none"): sentences, **placed}


def plan(size: int) -> list[Item]:
    """One item per speaker: ``size`` in training, a quarter of it in the other splits each."""
    counts = {"train": size, "valid": math.ceil(size / 4), "test": math.ceil(size / 4)}
    return [Item("speaker", split, index, len(wordings())) for split, count in counts.items() for index in range(count)]


def render(item: Item, size: int, seed: int, out: Path) -> dict[str, Any]:
    """Writes the recordings of one speaker; the record has path, speaker, sentence and meaning of each."""
    who = speaker(seed, _POOL[item.split], item.index)
    name, rows = _code(seed, item.split, item.index).replace("-", "")[:16], []
    meanings = list(wordings())
    for number in generator(seed, "order", item.split, item.index).permutation(len(meanings)):
        sentence, wav = recording(who, seed, meanings[number])
        path = f"wavs/speakers/{name}/{_code(seed, item.split, item.index, number)}.wav"
        save_audio(out / ROOT / path, wav, SAMPLE_RATE)
        rows.append([path, name, sentence, *meanings[number]])
    return {"split": item.split, "rows": rows}


def recording(who: Speaker, seed: int, meaning: Meaning) -> tuple[str, np.ndarray]:
    """A sentence with this meaning, and how the speaker says it in noise, pauses before and after: (n,) float32, 16 kHz."""
    rng = generator(seed, "command", who.split, who.index, *meaning)
    sentences = wordings()[meaning]
    sentence = sentences[rng.integers(len(sentences))]
    spoken = synthesize(sentence, vary(who.voice, rng), int(rng.integers(2**31)))
    wav, phones = with_margins(spoken, *rng.uniform(*_MARGIN_S, 2))
    start, end = (int(second * SAMPLE_RATE) for second in (phones[0].end, phones[-1].start))
    return sentence, noisy(wav, slice(start, end), rng, seed)


def _code(*names: object) -> str:
    """36 characters, as the original's files have them."""
    digits = hashlib.sha1(" ".join(map(str, names)).encode()).hexdigest()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:32]))


def finish(records: dict[str, dict[str, Any]], size: int, seed: int, out: Path) -> None:
    """The three tables."""
    for split in _POOL:
        rows = [row for record in records.values() if record["split"] == split for row in record["rows"]]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([number, *row] for number, row in enumerate(rows))
        path = out / ROOT / "data" / f"{split}_data.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.getvalue())


CORPUS = Corpus("fluent_commands", (ROOT,), {"tiny": 2, "small": 40, "medium": 200}, plan, render, finish)
