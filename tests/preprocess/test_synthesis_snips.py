"""Audio SNIPS: official names and lists, disjoint splits, equal bytes."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from preprocess.synthesis import commands, snips
from preprocess.synthesis.build import Item
from preprocess.synthesis.corpora import synthesize
from preprocess.synthesis.voices import POOLS

SPLITS = ("train", "valid", "test")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthesize("snips", tmp_path_factory.mktemp("snips"))


def lines_of(root: Path) -> dict[str, tuple[list[str], list[str], str]]:
    """Words, slots and intent by utterance, read as the slot filling task reads them."""
    found = {}
    for line in (root / "SNIPS/all.iob.snips.txt").read_text().splitlines():
        sentence, labels = line.split("\t")
        name, first, *words, last = sentence.split(" ")
        outside, *slots, intent = labels.split(" ")
        assert (first, last, outside) == ("BOS", "EOS", "O")
        found[name] = (words, slots, intent)
    return found


def digests(root: Path) -> dict[str, str]:
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(root.rglob("*")) if p.is_file()}


def test_files_speakers_and_lists_agree(tiny: Path):
    said = lines_of(tiny)
    speakers = {split: set() for split in SPLITS}
    for path in (tiny / "SNIPS").rglob("*.wav"):
        speaker, split = re.fullmatch(r"([A-Z][a-z]+)-snips-(train|valid|test)-\d+", path.stem).groups()
        assert path.parent.name == split
        speakers[split].add(speaker)
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
        assert 0.15 < info.duration / len(said[path.stem][0]) < 0.9
    assert speakers == {
        "train": {"Ivy", "Joanna", "Joey", "Justin", "Kendra", "Kimberly", "Matthew", "Salli"},
        "valid": {"Aditi", "Amy", "Geraint", "Nicole"},
        "test": {"Brian", "Emma", "Raveena", "Russell"},
    }
    assert set(said) == {path.stem for path in (tiny / "SNIPS").rglob("*.wav")}
    for words, slots, intent in said.values():
        assert len(words) == len(slots) and intent in commands.TEMPLATES
        assert re.fullmatch(r"[A-Z']+( [A-Z']+)*", " ".join(words))
    transcripts = dict(line.split(" ", 1) for line in (tiny / "SNIPS/all-trans.txt").read_text().splitlines())
    assert transcripts == {name: " ".join(words) for name, (words, _, _) in said.items()}


def test_slots_by_falling_frequency_without_a_last_newline(tiny: Path):
    slots = (tiny / "SNIPS/slots.txt").read_text().split("\n")
    assert slots[0] == "O" and sorted(slots[1:]) == sorted(commands.SLOTS)
    counts = Counter(slot for _, labels, _ in lines_of(tiny).values() for slot in labels)
    numbers = [counts[slot] for slot in slots[1:]]
    assert numbers == sorted(numbers, reverse=True) and numbers[0] > 0


def test_voices_are_of_the_pools_of_their_split():
    for split, pool in (("train", "train"), ("valid", "dev"), ("test", "test")):
        variants = list(snips.SPEAKERS[split].values())
        assert len(set(variants)) == len(variants) and set(variants) <= set(POOLS[pool])


def test_commands_and_half_of_the_names_are_unseen():
    drawn = {split: [commands.command(np.random.default_rng(seed), split) for seed in range(600)] for split in SPLITS}
    texts = {split: {command.text for command in found} for split, found in drawn.items()}
    assert sum(map(len, texts.values())) == len(set.union(*texts.values()))
    assert {command.intent for command in drawn["train"]} == set(commands.TEMPLATES)
    assert {slot for command in drawn["train"] for slot in command.slots} == {*commands.SLOTS, "O"}

    def names(split: str) -> list[str]:
        return [
            " ".join(word for word, label in zip(command.words, command.slots, strict=True) if label == slot)
            for command in drawn[split]
            for slot in commands.OPEN
            if slot in command.slots
        ]

    seen = set(names("train"))
    assert 0.3 < np.mean([name not in seen for name in names("test")]) < 0.7
    words = {split: {word for command in found for word in command.words} for split, found in drawn.items()}
    assert words["test"] <= words["train"]


def test_the_lists_of_values_have_no_word_twice():
    for listing in (*commands.CLOSED.values(), *(words for pair in commands.OPEN.values() for words in pair)):
        assert len(set(listing)) == len(listing) > 1


def test_equal_seeds_give_equal_bytes_and_sizes_share_files(tiny: Path, tmp_path: Path):
    expected = digests(tiny)
    assert digests(synthesize("snips", tmp_path / "again")) == expected
    for seed in (0, 1):
        snips.render(Item("speaker", "test", 1, 0), 8, seed, tmp_path / str(seed))
        larger = digests(tmp_path / str(seed))
        assert len(larger) == 2
        assert (larger["SNIPS/test/Emma-snips-test-1.wav"] == expected["SNIPS/test/Emma-snips-test-1.wav"]) == (seed == 0)
