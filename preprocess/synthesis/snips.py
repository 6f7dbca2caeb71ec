"""Audio SNIPS: commands with slots.

    SNIPS/{train,valid,test}/<Speaker>-snips-<split>-<n>.wav      16 kHz, 16 bit
    SNIPS/all.iob.snips.txt     "<id> BOS W1 ... Wn EOS<TAB>O S1 ... Sn Intent", words in capitals
    SNIPS/all-trans.txt         "<id> W1 ... Wn"
    SNIPS/slots.txt             O, then the slots by falling frequency, no newline at the end

The sixteen speakers have the names of the original's voices, and each split has those that SUPERB takes from it. Here every speaker says
other sentences, where the original has every sentence by every voice; all speak General American.
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from preprocess.synthesis.build import Corpus, Item
from preprocess.synthesis.commands import OUTSIDE, SLOTS, Command, command
from preprocess.synthesis.draws import generator
from preprocess.synthesis.engine import SAMPLE_RATE, synthesize
from preprocess.synthesis.librispeech import with_margins
from preprocess.synthesis.noise import noisy
from preprocess.synthesis.voices import POOLS, Speaker, speaker, vary
from utility.audio.io import save_audio

ROOT, COMMANDS, TRANSCRIPTS, SLOT_LIST = "SNIPS", "all.iob.snips.txt", "all-trans.txt", "slots.txt"
# Split -> pool of voices; split -> speaker -> espeak-ng's variant in that pool.
_POOL = {"train": "train", "valid": "dev", "test": "test"}
SPEAKERS = {
    "train": {
        "Ivy": "Annie",
        "Joanna": "f2",
        "Joey": "Andy",
        "Justin": "m7",
        "Kendra": "belinda",
        "Kimberly": "Alicia",
        "Matthew": "Lee",
        "Salli": "f4",
    },
    "valid": {"Aditi": "linda", "Amy": "f1", "Geraint": "m3", "Nicole": "anika"},
    "test": {"Brian": "m2", "Emma": "f3", "Raveena": "f5", "Russell": "rob"},
}
_ACCENTS = ("en-us",)
_MARGIN_S = (0.1, 0.4)


def sentences_of(split: str, size: int) -> int:
    """How many commands each speaker says: ``size`` in training, a quarter of it in the other splits."""
    return size if split == "train" else math.ceil(size / 4)


def plan(size: int) -> list[Item]:
    """One item per speaker."""
    return [Item("speaker", split, index, sentences_of(split, size)) for split, names in SPEAKERS.items() for index in range(len(names))]


def render(item: Item, size: int, seed: int, out: Path) -> dict[str, Any]:
    """Writes the recordings of one speaker; the record has id, words, slots and intent of each."""
    names = SPEAKERS[item.split]
    name, variant = list(names.items())[item.index]
    who = speaker(seed, _POOL[item.split], POOLS[_POOL[item.split]].index(variant), _ACCENTS)
    said = []
    for take in range(sentences_of(item.split, size)):
        number = take * len(names) + item.index
        what, wav = recording(who, seed, item.split, number)
        utterance = f"{name}-snips-{item.split}-{number}"
        save_audio(out / ROOT / item.split / f"{utterance}.wav", wav, SAMPLE_RATE)
        said.append([utterance, list(what.words), list(what.slots), what.intent])
    return {"said": said}


def recording(who: Speaker, seed: int, split: str, number: int) -> tuple[Command, np.ndarray]:
    """The command with this number in a split, spoken in noise with up to 0.4 s of pause before and after: (n,) float32 at 16 kHz."""
    rng = generator(seed, "command", split, number)
    what = command(rng, split)
    spoken = synthesize(what.text, vary(who.voice, rng), int(rng.integers(2**31)))
    wav, phones = with_margins(spoken, *rng.uniform(*_MARGIN_S, 2))
    start, end = (int(second * SAMPLE_RATE) for second in (phones[0].end, phones[-1].start))
    return what, noisy(wav, slice(start, end), rng, seed)


def finish(records: dict[str, dict[str, Any]], size: int, seed: int, out: Path) -> None:
    """The three lists."""
    said = [entry for record in records.values() for entry in record["said"]]
    lines = [f"{name} BOS {' '.join(words).upper()} EOS\tO {' '.join(slots)} {intent}\n" for name, words, slots, intent in said]
    (out / ROOT / COMMANDS).write_text("".join(lines))
    (out / ROOT / TRANSCRIPTS).write_text("".join(f"{name} {' '.join(words).upper()}\n" for name, words, _, _ in said))
    counts = Counter(dict.fromkeys(SLOTS, 0))
    counts.update(slot for _, _, slots, _ in said for slot in slots if slot != OUTSIDE)
    by_frequency = sorted(SLOTS, key=lambda slot: (-counts[slot], slot))
    (out / ROOT / SLOT_LIST).write_text("\n".join([OUTSIDE, *by_frequency]))


CORPUS = Corpus("snips", (ROOT,), {"tiny": 2, "small": 150, "medium": 600}, plan, render, finish)
