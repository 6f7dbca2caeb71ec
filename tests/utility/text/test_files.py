"""Text files that users give, whole and damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from downstream.asr.decoder import read_lexicon as read_spellings
from downstream.blocks.frame_labels import FrameLabels, class_names, read_list
from utility.errors import DataError
from utility.text.encoders import read_vocabulary
from utility.text.files import read_lines, rows_of
from utility.text.letters import LetterDictionary
from utility.text.slot_encoders import read_slots

LETTERS = LetterDictionary(["<s>", "<pad>", "</s>", "<unk>", "|", "A"])
MARK = "\ufeff"


def test_lines(tmp_path: Path):
    """Only what ends a line in a file ends one here."""
    path = tmp_path / "a.txt"
    path.write_bytes(f"{MARK}é\r\n\x85b\u2028c\n\n d ".encode())
    assert read_lines(path) == ["é", "\x85b\u2028c", "", " d "]
    path.write_bytes(b"")
    assert read_lines(path) == []


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"a\nb\xff\n", "data.list: list {} is no UTF-8 text: line 2 holds the byte 0xff at column 2"),
        ("ä\n".encode("utf-16"), "data.list: list {} is no UTF-8 text: line 1 holds the byte 0xff at column 1"),
        (None, "data.list: list {} does not exist; make it"),
        ("folder", "data.list: list {} cannot be read: Is a directory"),
    ],
)
def test_faults_name_field_file_and_line(tmp_path: Path, content: bytes | str | None, sentence: str):
    path = tmp_path / "a.txt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        path.mkdir()
    with pytest.raises(DataError) as caught:
        read_lines(path, "list", "data.list", "make it")
    assert str(caught.value) == sentence.format(path)


def test_rows(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text(f'{MARK}name,text\n1,"a, b"\n2\n', encoding="utf-8")
    assert list(rows_of(path, ("name",))) == [(2, {"name": "1", "text": "a, b"}), (3, {"name": "2", "text": ""})]
    with pytest.raises(DataError, match=r"^root: table .*a\.csv has no column 'names'; did you mean 'name'"):
        list(rows_of(path, ("names",), "table", "root"))
    path.write_text("name\n" + "x" * 200_000)
    with pytest.raises(DataError, match=r"table .*a\.csv, line \d is damaged: field larger"):
        list(rows_of(path, ("name",)))


READERS = {
    "vocabulary": ("A\nB\n", lambda path: read_vocabulary(path, "field")),
    "slots": ("O\nartist\n", lambda path: read_slots(path, "field")),
    "letters": ("A 3\n", lambda path: LetterDictionary.load(path, "field").symbols),
    "spellings": ("AA\tA A |\n", lambda path: read_spellings(path, LETTERS, "field")),
    "list of utterances": ("a\nb\n", lambda path: read_list(path, "field")),
    "labels": ("a 1 2\n", lambda path: FrameLabels(path.parent, 41, "field").places),
    "names of classes": ("AA 1\n", lambda path: class_names(path.parent, 2, "field")),
}
NAMES = {"labels": "converted_aligned_phones.txt", "names of classes": "phones.txt"}


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_takes_a_mark_and_names_other_encodings(tmp_path: Path, reader: str):
    text, read = READERS[reader]
    path = tmp_path / NAMES.get(reader, "file.txt")
    path.write_text(text)
    plain = read(path)
    path.write_text(MARK + text, encoding="utf-8")
    assert read(path) == plain
    path.write_bytes(text.encode() + b"\xe9 3\n")
    with pytest.raises(DataError, match=rf"^field: .*{path} is no UTF-8 text: line {text.count(chr(10)) + 1} holds the byte 0xe9"):
        read(path)
