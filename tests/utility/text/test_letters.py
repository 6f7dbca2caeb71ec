"""The letter dictionary against fairseq's recorded one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from utility.errors import DataError
from utility.text.letters import LetterDictionary, as_letters, words_of


def test_recorded_dictionary(golden):
    folder = golden("tasks/text/asr_letter_dictionary")
    given, expected = (json.loads((folder / f"{name}.json").read_text()) for name in ("params", "outputs"))
    letters = LetterDictionary.load(folder / "files/char.dict")
    assert letters.symbols == expected["symbols"][: expected["len"]]
    assert (letters.begin, letters.pad, letters.end, letters.unknown) == tuple(expected[name] for name in ("bos", "pad", "eos", "unk"))
    for text, item in zip(given["transcripts"], expected["items"], strict=True):
        assert " ".join(as_letters(text)) == item["tokens"]
        assert words_of(item["string"]) == item["words"]
        known = [number if number < len(letters) else letters.unknown for number in item["ids"]]
        assert letters.encode(text) == known
        if known == item["ids"]:
            assert letters.string(item["ids"]) == item["string"]
    assert [letters.string(numbers) for numbers in given["ids"]] == expected["string_of_ids"]


def test_shipped_dictionary_is_the_recorded_one(golden, repo: Path):
    recorded = golden("tasks/text/asr_letter_dictionary") / "files/char.dict"
    assert (repo / "downstream/asr/char.dict").read_bytes() == recorded.read_bytes()


def test_letters_that_it_lacks(repo: Path):
    letters = LetterDictionary.load(repo / "downstream/asr/char.dict")
    assert letters.unknown_in("it's\tso ") == []
    assert letters.unknown_in("é 2 go É") == ["É", "2", "É"]
    assert letters.string(letters.encode("é go")) == "<unk> | G O |"


def test_spaces_do_not_count():
    assert as_letters("  a   b ") == ["A", "|", "B", "|"]
    assert as_letters("") == []


def test_marked_repetitions(tmp_path: Path):
    path = tmp_path / "char.dict"
    path.write_text("A 3\nB 2\nA 1 #fairseq:overwrite\n")
    assert LetterDictionary.load(path).symbols[4:] == ["A", "B"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("A 3\nA 2\n", "line 2 .* has the symbol 'A' a second time"), ("A\n", "line 1 .* is no symbol"), ("A x\n", "line 1 .*: 'A x'")],
)
def test_wrong_dictionaries(tmp_path: Path, text: str, sentence: str):
    (tmp_path / "char.dict").write_text(text)
    with pytest.raises(DataError, match=f"dict_path: {sentence}"):
        LetterDictionary.load(tmp_path / "char.dict")
