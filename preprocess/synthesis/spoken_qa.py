"""Spoken questions about spoken passages, in the layout of NMSQA; ``slue_sqa5`` writes the same in that of SLUE SQA-5.

    NMSQA/{train,dev}/<split>-answer-span.csv       hash,context_id,answer,new_start,new_end: seconds within the whole passage
    NMSQA/{train,dev}/meta-<split>.csv              id,duration,speaker,transcription of every recording
    NMSQA/{train,dev}/<split>-hash2question.json    hash -> question-<article>_<passage>_<number>
    NMSQA/{train,dev}/<split>_segment_id.json       <article>_<passage> -> ["0", "1", ...]
    NMSQA/{train,dev}/<split>_audios/               question-A_P_Q.wav; context-A_P_K.wav, one sentence each
    NMSQA/test/test-{SQuAD,OOD}/<name>-answer-span.csv, NMSQA/meta-lxt.csv, NMSQA/lxt_sqa/audio/<name>-{c,q}.wav

Splits share neither speakers nor facts; test-OOD has other wordings as well. Question and passage are by different speakers. In
development and test, an answer that is a place has a second annotation that begins with the preposition.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from preprocess.synthesis import facts
from preprocess.synthesis.build import Corpus, Item
from preprocess.synthesis.draws import generator
from preprocess.synthesis.engine import SAMPLE_RATE, Segment, synthesize
from preprocess.synthesis.noise import noisy
from preprocess.synthesis.voices import POOLS, Speaker, speaker, vary
from utility.audio.io import save_audio

ROOT = "NMSQA"
# Split -> pool of voices and facts.
POOL = {"train": "train", "dev": "dev", "test-SQuAD": "test", "test-OOD": "test"}
SIZES = {"tiny": 4, "small": 240, "medium": 1500}
_ACCENTS = ("en-us",)
_MARGIN_S = (0.1, 0.4)
_PASSAGES_PER_ARTICLE = 8


@dataclass(frozen=True)
class Recording:
    """One sentence in noise.

    Args:
        text: what is said.
        wav: (n,) float32, 16 kHz.
        words: in seconds of ``wav``.
        who: the speaker's name.
    """

    text: str
    wav: np.ndarray
    words: list[Segment]
    who: str

    @property
    def seconds(self) -> float:
        """Duration."""
        return len(self.wav) / SAMPLE_RATE


@dataclass(frozen=True)
class Asked:
    """A question with its answers.

    Args:
        recording: the question.
        answer: the word.
        spans: (start, end) in seconds within the whole passage, one per annotation.
    """

    recording: Recording
    answer: str
    spans: list[tuple[float, float]]


def counts(size: int) -> dict[str, int]:
    """Passages per split: a sixth of ``size`` in dev and test-SQuAD each, a twelfth in test-OOD."""
    return {"train": size, "dev": math.ceil(size / 6), "test-SQuAD": math.ceil(size / 6), "test-OOD": math.ceil(size / 12)}


def plan(size: int) -> list[Item]:
    """One item per passage."""
    return [Item("passage", split, index, 8) for split, count in counts(size).items() for index in range(count)]


def spoken_passage(split: str, index: int, seed: int) -> tuple[list[Recording], list[Asked]]:
    """The sentences of a passage, and its questions.

    Args:
        split: one of ``POOL``.
        index: number of the passage in its split.
        seed: the corpus' seed.
    """
    rng, pool = generator(seed, "passage", split, index), POOL[split]
    told = facts.passage(rng, pool, unusual=split == "test-OOD")
    voices = len(POOLS[pool])
    reader, asker = (speaker(seed, pool, (index + step) % voices, _ACCENTS) for step in (0, 1 + int(rng.integers(voices - 1))))
    sentences = [recording(fact.sentence, reader, rng, seed) for fact in told]
    offsets = np.cumsum([0.0, *(sentence.seconds for sentence in sentences)])
    asked = []
    for fact, sentence, offset in zip(told, sentences, offsets, strict=False):
        spans = answer_spans(sentence, fact, several=split != "train")
        moved = [(round(start + offset, 4), round(end + offset, 4)) for start, end in spans]
        asked.append(Asked(recording(fact.question, asker, rng, seed), fact.answer, moved))
    return sentences, asked


def answer_spans(sentence: Recording, fact: facts.Fact, several: bool) -> list[tuple[float, float]]:
    """The times of the answer in its sentence; with ``several`` also from the preposition on where it is a place."""
    last = sentence.words[-1]
    if last.label != fact.answer:
        raise ValueError(f"{fact.sentence!r} ends with {last.label!r} in time, not with {fact.answer!r}")
    spans = [(last.start, last.end)]
    if several and fact.kind == "place":
        before = [word for word in sentence.words if word.label.split(" ")[0] in ("in", "near") and word.start < last.start]
        spans += [(word.start, last.end) for word in before[-1:]]
    return spans


def recording(text: str, who: Speaker, rng: np.random.Generator, seed: int) -> Recording:
    """A sentence in noise, with up to 0.4 s of pause before and after."""
    spoken = synthesize(text, vary(who.voice, rng), int(rng.integers(2**31)))
    first, last = (round(second * SAMPLE_RATE) for second in spoken.speech)
    lead, tail = (np.zeros(round(seconds * SAMPLE_RATE), np.float32) for seconds in rng.uniform(*_MARGIN_S, 2))
    wav = noisy(np.concatenate([lead, spoken.wav[first:last], tail]), slice(len(lead), len(lead) + last - first), rng, seed)
    shift = (len(lead) - first) / SAMPLE_RATE
    words = [Segment(word.start + shift, word.end + shift, word.label) for word in spoken.words]
    return Recording(text, wav, words, f"{who.split}-{who.voice.variant}".replace(" ", "_"))


def identifier(seed: int, split: str, index: int, number: int) -> str:
    """24 hexadecimal digits, as SQuAD's questions have."""
    return hashlib.md5(f"{seed} {split} {index} {number}".encode(), usedforsecurity=False).hexdigest()[:24]


def render(item: Item, size: int, seed: int, out: Path) -> dict[str, Any]:
    """Writes one passage with its questions; the record holds the rows of the tables."""
    sentences, asked = spoken_passage(item.split, item.index, seed)
    if item.split in ("train", "dev"):
        return _render_segments(item, sentences, asked, seed, out / ROOT / item.split / f"{item.split}_audios")
    return _render_whole(item, sentences, asked, out / ROOT / "lxt_sqa" / "audio")


def _render_segments(item: Item, sentences: list[Recording], asked: list[Asked], seed: int, folder: Path) -> dict[str, Any]:
    """A passage in segments with all of its questions."""
    passage = f"{item.index // _PASSAGES_PER_ARTICLE}_{item.index % _PASSAGES_PER_ARTICLE}"
    meta = [_saved(folder, f"context-{passage}_{number}", sentence) for number, sentence in enumerate(sentences)]
    rows, names = [], {}
    for number, question in enumerate(asked):
        key, name = identifier(seed, item.split, item.index, number), f"question-{passage}_{number}"
        meta.append(_saved(folder, name, question.recording))
        names[key] = name
        rows += [[key, passage, question.answer, start, end] for start, end in question.spans]
    return {"meta": meta, "rows": rows, "names": names, "segments": {passage: [str(number) for number in range(len(sentences))]}}


def _render_whole(item: Item, sentences: list[Recording], asked: list[Asked], folder: Path) -> dict[str, Any]:
    """A whole passage per question, as the test sets have it."""
    whole = Recording(". ".join(sentence.text for sentence in sentences), np.concatenate([s.wav for s in sentences]), [], sentences[0].who)
    meta, rows = [], []
    for number, question in enumerate(asked):
        name = f"{item.split.removeprefix('test-').lower()}{item.index:04d}{number}"
        meta += [_saved(folder, f"{name}-c", whole), _saved(folder, f"{name}-q", question.recording)]
        rows += [[name, name, question.answer, start, end] for start, end in question.spans]
    return {"meta": meta, "rows": rows}


def _saved(folder: Path, name: str, what: Recording) -> list[Any]:
    """Writes a recording; returns its row of the meta table."""
    save_audio(folder / f"{name}.wav", what.wav, SAMPLE_RATE)
    return [name, round(what.seconds, 4), what.who, what.text]


def finish(records: dict[str, dict[str, Any]], size: int, seed: int, out: Path) -> None:
    """Tables and maps."""
    root = out / ROOT
    by_split = {split: [record for key, record in records.items() if key.split("/")[1] == split] for split in POOL}
    for split, own in by_split.items():
        folder = root / ("test" if split.startswith("test") else "") / split
        write_table(folder / f"{split}-answer-span.csv", ("hash", "context_id", "answer", "new_start", "new_end"), _all(own, "rows"))
        if split in ("train", "dev"):
            write_table(folder / f"meta-{split}.csv", _META, _all(own, "meta"))
            for file, field in ((f"{split}-hash2question.json", "names"), (f"{split}_segment_id.json", "segments")):
                (folder / file).write_text(json.dumps({key: value for record in own for key, value in record[field].items()}))
    write_table(root / "meta-lxt.csv", _META, _all(by_split["test-SQuAD"] + by_split["test-OOD"], "meta"))


_META = ("id", "duration", "speaker", "transcription")


def _all(records: list[dict[str, Any]], field: str) -> Iterable[list[Any]]:
    return (row for record in records for row in record[field])


def write_table(path: Path, header: tuple[str, ...], rows: Iterable[Iterable[Any]], delimiter: str = ",") -> None:
    """Writes a table with a header; missing folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


CORPUS = Corpus("spoken_qa", (ROOT,), SIZES, plan, render, finish)
