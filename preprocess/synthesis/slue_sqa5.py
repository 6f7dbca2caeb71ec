"""The passages and questions of ``spoken_qa`` in the layout of SLUE Phase-2's SQA-5.

    slue-sqa5/<split>.tsv               question_id, normalized_question_text, document_id, normalized_document_text, answer_spans (JSON),
                                        question_speaker_id, document_speaker_id
    slue-sqa5/<split>/question/<question_id>.wav
    slue-sqa5/<split>/document/<document_id>.wav
    slue-sqa5/<split>/word2time/<document_id>.tsv      word, normalized word, start, end in seconds

Splits are train, validation, test and verified_test (the other wordings of test-OOD).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from preprocess.synthesis.build import Corpus, Item
from preprocess.synthesis.engine import SAMPLE_RATE
from preprocess.synthesis.spoken_qa import SIZES, Asked, Recording, identifier, plan, spoken_passage, write_table
from utility.audio.io import save_audio

ROOT = "slue-sqa5"
NAMES = {"train": "train", "dev": "validation", "test-SQuAD": "test", "test-OOD": "verified_test"}
_COLUMNS = ("question_id", "normalized_question_text", "document_id", "normalized_document_text")
_TIMES = ("word", "normalized_word", "start_second", "end_second")
_MORE_COLUMNS = ("answer_spans", "question_speaker_id", "document_speaker_id")


def render(item: Item, size: int, seed: int, out: Path) -> dict[str, Any]:
    """Writes one passage with its questions; the record holds the rows of the table."""
    folder = out / ROOT / NAMES[item.split]
    sentences, asked = spoken_passage(item.split, item.index, seed)
    document = f"{NAMES[item.split]}-document-{item.index:05d}"
    save_audio(folder / "document" / f"{document}.wav", np.concatenate([sentence.wav for sentence in sentences]), SAMPLE_RATE)
    write_table(folder / "word2time" / f"{document}.tsv", _TIMES, _words(sentences), "\t")
    rows = []
    for number, question in enumerate(asked):
        key = identifier(seed, item.split, item.index, number)
        save_audio(folder / "question" / f"{key}.wav", question.recording.wav, SAMPLE_RATE)
        text, told = question.recording.text, " ".join(sentence.text for sentence in sentences)
        rows.append([key, text, document, told, _spans(question), question.recording.who, sentences[0].who])
    return {"rows": rows}


def _words(sentences: list[Recording]) -> list[list[Any]]:
    offsets = np.cumsum([0.0, *(sentence.seconds for sentence in sentences)])
    timed = [(word, offset) for sentence, offset in zip(sentences, offsets, strict=False) for word in sentence.words]
    return [[word.label, word.label, round(word.start + offset, 4), round(word.end + offset, 4)] for word, offset in timed]


def _spans(question: Asked) -> str:
    starts, ends = zip(*question.spans, strict=True)
    return json.dumps({"answer": [question.answer] * len(starts), "start_second": starts, "end_second": ends})


def finish(records: dict[str, dict[str, Any]], size: int, seed: int, out: Path) -> None:
    """The table of each split."""
    for split, name in NAMES.items():
        rows = [row for key, record in records.items() if key.split("/")[1] == split for row in record["rows"]]
        write_table(out / ROOT / f"{name}.tsv", (*_COLUMNS, *_MORE_COLUMNS), rows, "\t")


CORPUS = Corpus("slue_sqa5", (ROOT,), SIZES, plan, render, finish)
