"""IEMOCAP: acted emotions in five sessions of two speakers.

    IEMOCAP_full_release/Session<n>/sentences/wav/<dialog>/<dialog>_<F|M><number>.wav      16 kHz, 16 bit
    IEMOCAP_full_release/Session<n>/dialog/EmoEvaluation/<dialog>.txt
        lines "[start - end]<TAB>name<TAB>emotion<TAB>[V, A, D]"

Every session has a woman and a man whom no other has. An emotion is a way of speaking, whatever is said: pitch, its range, rate and level,
each of them varied as well. Labels are the original's, among them excitement (counted as happiness) and frustration (left out by the task).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from preprocess.synthesis import texts
from preprocess.synthesis.build import Corpus, Item
from preprocess.synthesis.draws import generator
from preprocess.synthesis.engine import SAMPLE_RATE, Voice, synthesize
from preprocess.synthesis.librispeech import with_margins
from preprocess.synthesis.noise import SNR_DB, background, mix
from preprocess.synthesis.voices import POOLS, Speaker, speaker
from utility.audio.io import save_audio

ROOT = "IEMOCAP_full_release"
SESSIONS = 5
SPEAKERS = {"F": ("f2", "Annie", "belinda", "Alicia", "f4"), "M": ("m1", "Andy", "m7", "Lee", "m4")}
# Emotion -> factors on pitch, its range and the rate, and the level in dB.
MANNERS = {
    "neu": (1.0, 1.0, 1.0, 0.0),
    "hap": (1.25, 1.7, 1.1, 3.0),
    "ang": (1.1, 1.35, 1.35, 6.0),
    "sad": (0.85, 0.45, 0.72, -6.0),
    "exc": (1.3, 1.8, 1.2, 4.0),
    "fru": (0.95, 1.2, 1.2, 2.0),
}
# The four classes of the task: each comes once in four utterances.
_CLASSES = (("neu",), ("ang",), ("sad",), ("hap", "exc"))
_PER_DIALOG = 16
_FRUSTRATED = 1 / 16  # beside these
_MARGIN_S, _LEVEL_DB, _GAP_S = (0.1, 0.4), (-9.0, -7.0), 0.5
_BACKGROUNDS = ("white", "pink", "hum")


def plan(size: int) -> list[Item]:
    """One item per speaker, with ``size`` utterances of the task's four classes."""
    return [Item(sex, "", session, size) for session in range(SESSIONS) for sex in SPEAKERS]


def render(item: Item, size: int, seed: int, out: Path) -> dict[str, Any]:
    """Writes the recordings of one speaker; the record has dialog, name, emotion and duration of each."""
    variant = SPEAKERS[item.kind][item.index]
    who = speaker(seed, "train", POOLS["train"].index(variant), ("en-us",))
    said = []
    for number, emotion in enumerate(_emotions(seed, item, size)):
        dialog = f"Ses{item.index + 1:02d}{item.kind}_impro{number // _PER_DIALOG + 1:02d}"
        name = f"{dialog}_{item.kind}{number % _PER_DIALOG:03d}"
        wav = recording(who, emotion, seed, number)
        save_audio(out / ROOT / f"Session{item.index + 1}/sentences/wav/{dialog}/{name}.wav", wav, SAMPLE_RATE)
        said.append([dialog, name, emotion, len(wav) / SAMPLE_RATE])
    return {"session": item.index + 1, "said": said}


def _emotions(seed: int, item: Item, size: int) -> list[str]:
    """The emotions of a speaker: in each four utterances all classes, in random order, and now and then frustration between them."""
    rng = generator(seed, "emotions", item.kind, item.index)
    found: list[str] = []
    for place in range(size):
        if place % len(_CLASSES) == 0:
            order = rng.permutation(len(_CLASSES))
        names = _CLASSES[order[place % len(_CLASSES)]]
        found += [names[rng.integers(len(names))], *["fru"] * int(rng.random() < _FRUSTRATED)]
    return found


def acted(voice: Voice, emotion: str, rng: np.random.Generator) -> Voice:
    """How a voice sounds in an emotion; besides, pitch and rate vary by 10 % and the range by 20 %."""
    pitch, pitch_range, rate, _ = MANNERS[emotion]
    return replace(
        voice,
        pitch=float(np.clip(voice.pitch * pitch * rng.uniform(0.9, 1.1), 0.6, 1.65)),
        pitch_range=float(np.clip(voice.pitch_range * pitch_range * rng.uniform(0.8, 1.2), 0, 2)),
        rate=voice.rate * rate * rng.uniform(0.9, 1.1),
    )


def recording(who: Speaker, emotion: str, seed: int, number: int) -> np.ndarray:
    """A sentence in an emotion and in noise, with up to 0.4 s of pause before and after: (n,) float32, 16 kHz."""
    rng = generator(seed, "acted", who.split, who.index, number)
    text = texts.sentence(rng, "train")
    spoken = synthesize(text, acted(who.voice, emotion, rng), int(rng.integers(2**31)))
    wav, phones = with_margins(spoken, *rng.uniform(*_MARGIN_S, 2))
    active = slice(*(int(second * SAMPLE_RATE) for second in (phones[0].end, phones[-1].start)))
    kind = _BACKGROUNDS[rng.integers(len(_BACKGROUNDS))]
    mixed = mix(wav, background(kind, len(wav), rng, seed), rng.uniform(*SNR_DB), active)
    level = rng.uniform(*_LEVEL_DB) + MANNERS[emotion][3]
    return (mixed * (10 ** (level / 20) / max(float(np.abs(mixed).max()), 1e-6))).astype(np.float32)


def finish(records: dict[str, dict[str, Any]], size: int, seed: int, out: Path) -> None:
    """The evaluations: one file per dialog, in the form of the original."""
    for record in records.values():
        dialogs: dict[str, list[list[Any]]] = {}
        for dialog, *turn in record["said"]:
            dialogs.setdefault(dialog, []).append(turn)
        for dialog, turns in dialogs.items():
            path = out / ROOT / f"Session{record['session']}/dialog/EmoEvaluation/{dialog}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n" + "".join(_evaluations(turns)))


def _evaluations(turns: list[list[Any]]) -> list[str]:
    lines, start = [], 0.0
    for name, emotion, seconds in turns:
        lines.append(f"[{start:.4f} - {start + seconds:.4f}]\t{name}\t{emotion}\t[2.5000, 2.5000, 2.5000]\nC-E1:\tSynthetic;\t()\n\n")
        start += seconds + _GAP_S
    return lines


CORPUS = Corpus("iemocap", (ROOT,), {"tiny": 4, "small": 80, "medium": 400}, plan, render, finish)
