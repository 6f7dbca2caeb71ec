"""Fluent Speech Commands: official tables and values, disjoint speakers, equal bytes."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import pytest
import soundfile

from preprocess.synthesis import fluent_commands
from preprocess.synthesis.build import Item
from tests.support.corpora import synthetic

SPLITS = ("train", "valid", "test")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic("fluent_commands", tmp_path_factory.mktemp("fluent")) / fluent_commands.ROOT


def table(root: Path, split: str) -> list[dict[str, str]]:
    with (root / "data" / f"{split}_data.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_official_meanings():
    meanings = list(fluent_commands.wordings())
    assert len(meanings) == 31
    assert [len({meaning[slot] for meaning in meanings}) for slot in range(3)] == [6, 14, 4]
    sentences = [sentence for said in fluent_commands.wordings().values() for sentence in said]
    assert len(set(sentences)) == len(sentences)
    assert all(len(said) >= 3 for said in fluent_commands.wordings().values())


def test_tables_and_recordings_agree(tiny: Path):
    speakers, listed = {}, set()
    for split in SPLITS:
        rows = table(tiny, split)
        assert list(rows[0]) == ["", "path", "speakerId", "transcription", "action", "object", "location"]
        assert [row[""] for row in rows] == [str(number) for number in range(len(rows))]
        assert {(row["action"], row["object"], row["location"]) for row in rows} == set(fluent_commands.wordings())
        for row in rows:
            assert row["transcription"] in fluent_commands.wordings()[row["action"], row["object"], row["location"]]
            assert row["path"].split("/")[:3] == ["wavs", "speakers", row["speakerId"]]
        speakers[split] = {row["speakerId"] for row in rows}
        listed |= {row["path"] for row in rows}
    assert [len(speakers[split]) for split in SPLITS] == [2, 1, 1]
    assert len(set.union(*speakers.values())) == 4
    assert listed == {str(path.relative_to(tiny)) for path in tiny.rglob("*.wav")}
    for path in listed:
        info = soundfile.info(tiny / path)
        assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
        assert 0.4 < info.duration < 6


def test_equal_seeds_give_equal_bytes(tiny: Path, tmp_path: Path):
    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in tiny.rglob("*.wav")}
    for seed in (0, 1):
        fluent_commands.render(Item("speaker", "test", 0, 0), 40, seed, tmp_path / str(seed))
        again = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / str(seed)).rglob("*.wav")}
        assert len(again) == 31
        assert (again <= digests) == (seed == 0)
