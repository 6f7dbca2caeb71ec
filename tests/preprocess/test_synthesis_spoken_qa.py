"""Spoken questions about passages: both layouts, spans in time, unseen facts and speakers, equal bytes."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from preprocess.synthesis import facts, spoken_qa
from preprocess.synthesis.corpora import synthesize


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthesize("slue_sqa5", synthesize("spoken_qa", tmp_path_factory.mktemp("qa")))


def rows(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


def seconds(path: Path) -> float:
    info = soundfile.info(path)
    assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
    return info.duration


@pytest.mark.parametrize("split", ["train", "dev"])
def test_nmsqa_tables_maps_and_recordings_agree(tiny: Path, split: str):
    root = tiny / "NMSQA" / split
    meta = {row["id"]: row for row in rows(root / f"meta-{split}.csv")}
    files = {path.stem: path for path in (root / f"{split}_audios").iterdir()}
    assert set(files) == set(meta)
    for name, row in meta.items():
        assert seconds(files[name]) == pytest.approx(float(row["duration"]), abs=2e-4)
    names = json.loads((root / f"{split}-hash2question.json").read_text())
    segments = json.loads((root / f"{split}_segment_id.json").read_text())
    answers = rows(root / f"{split}-answer-span.csv")
    assert {row["hash"] for row in answers} == set(names)
    assert {f"context-{passage}_{part}" for passage, parts in segments.items() for part in parts} | set(names.values()) == set(meta)
    for row in answers:
        parts = [meta[f"context-{row['context_id']}_{part}"] for part in segments[row["context_id"]]]
        ends = np.cumsum([float(part["duration"]) for part in parts])
        start, end = float(row["new_start"]), float(row["new_end"])
        place = int(np.searchsorted(ends, start))
        assert 0 < start < end <= ends[place] + 1e-3
        assert parts[place]["transcription"].endswith(row["answer"])
        assert meta[names[row["hash"]]]["speaker"] != parts[place]["speaker"]
    several = len(answers) - len(names)
    assert several > 0 if split == "dev" else several == 0


def test_answers_are_louder_than_the_pauses(tiny: Path):
    root = tiny / "NMSQA"
    ratios = []
    for row in rows(root / "test/test-SQuAD/test-SQuAD-answer-span.csv"):
        wav, _ = soundfile.read(root / f"lxt_sqa/audio/{row['context_id']}-c.wav")
        inside = wav[round(float(row["new_start"]) * 16000) : round(float(row["new_end"]) * 16000)]
        ratios.append(10 * np.log10(np.mean(inside**2) / np.mean(wav[:1600] ** 2)))
    assert np.median(ratios) > 5


def test_both_layouts_hold_the_same(tiny: Path):
    table = rows(tiny / "slue-sqa5/train.tsv", "\t")
    spans = {row["hash"]: (float(row["new_start"]), float(row["new_end"])) for row in rows(tiny / "NMSQA/train/train-answer-span.csv")}
    assert {row["question_id"] for row in table} == set(spans)
    for row in table:
        answer = json.loads(row["answer_spans"])
        assert (answer["start_second"][0], answer["end_second"][0]) == spans[row["question_id"]]
        words = rows(tiny / f"slue-sqa5/train/word2time/{row['document_id']}.tsv", "\t")
        at = [word["normalized_word"] for word in words if float(word["start_second"]) == answer["start_second"][0]]
        assert at == answer["answer"][:1]
        assert seconds(tiny / f"slue-sqa5/train/document/{row['document_id']}.wav") >= answer["end_second"][-1]
        assert seconds(tiny / f"slue-sqa5/train/question/{row['question_id']}.wav") > 0.5
    for name in ("validation", "test", "verified_test"):
        assert rows(tiny / f"slue-sqa5/{name}.tsv", "\t")


def test_splits_share_neither_facts_nor_speakers_nor_other_wordings(tiny: Path):
    told = {split: set() for split in ("train", "dev", "test")}
    for split, found in told.items():
        for seed in range(300):
            sentences = facts.passage(np.random.default_rng(seed), split)
            assert 3 <= len(sentences) <= 5
            assert len({fact.question.split()[-1] for fact in sentences}) == len(sentences)
            found.update((fact.question.split()[-1], fact.answer) for fact in sentences)
    assert sum(map(len, told.values())) == len(set.union(*told.values()))
    things, values = ({pair[side] for pair in told["train"]} for side in (0, 1))
    for split in ("dev", "test"):
        assert {pair[0] for pair in told[split]} == things and {pair[1] for pair in told[split]} == values
    usual, unusual = (
        {fact.question.replace(fact.question.split()[-1], "") for seed in range(100) for fact in facts.passage(rng(seed), "test", other)}
        for other in (False, True)
    )
    assert not usual & unusual
    speakers = {split: {row["speaker"] for row in rows(tiny / f"NMSQA/{split}/meta-{split}.csv")} for split in ("train", "dev")}
    speakers["test"] = {row["speaker"] for row in rows(tiny / "NMSQA/meta-lxt.csv")}
    assert sum(map(len, speakers.values())) == len(set.union(*speakers.values()))


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_equal_seeds_give_equal_bytes(tiny: Path, tmp_path: Path):
    def digests(root: Path) -> dict[str, str]:
        return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in root.rglob("*") if p.is_file()}

    synthesize("spoken_qa", tmp_path / "again")
    expected = digests(tiny / "NMSQA")
    assert digests(tmp_path / "again/NMSQA") == expected
    item = next(item for item in spoken_qa.plan(4) if item.split == "dev")
    for seed in (0, 1):
        spoken_qa.render(item, 240, seed, tmp_path / str(seed))
        own = digests(tmp_path / str(seed) / "NMSQA")
        assert all((expected.get(name) == value) == (seed == 0) for name, value in own.items())
