"""Text encoders against S3PRL's recorded ids, their state, wrong files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from utility.errors import ConfigError, DataError, MissingDependencyError, ToolkitError, UnknownNameError
from utility.text.encoders import CHARACTERS, PHONEMES, UNK, build_encoder, characters_of, encoder_from_state, read_vocabulary
from utility.text.slot_encoders import read_slots
from utility.text.subword import train_model

CASES = ["character_encoder", "phoneme_word_encoder", "snips_character_slot_encoder"]
SLOTS = "O\nartist\nplaylist\ntimeRange\n"


def encoder_of(folder: Path, **options: Any):
    mode = json.loads((folder / "params.json").read_text())["mode"]
    slots = folder / "files/slots.txt"
    return build_encoder(mode, folder / "files/vocab.txt", slots_file=slots if slots.exists() else None, **options)


@pytest.mark.parametrize("case", CASES)
def test_recorded_ids_and_texts(golden, case: str):
    folder = golden(f"tasks/text/{case}")
    params, expected = (json.loads((folder / f"{name}.json").read_text()) for name in ("params", "outputs"))
    encoder = encoder_of(folder)
    assert (len(encoder), list(encoder.symbols)) == (expected["vocab_size"], expected["symbols_by_id"])
    for text, ids, back in zip(params["encode"], expected["encode"], expected["roundtrip"], strict=True):
        if isinstance(ids, dict):
            with pytest.raises(UnknownNameError, match="unknown slot 'unknown_slot'"):
                encoder.encode(text)
        else:
            assert encoder.encode(text) == ids
            assert encoder.decode(ids) == back
    for ids, wanted in zip(params["decode"], expected["decode"], strict=True):
        assert encoder.decode(ids) == wanted["plain"]
        assert encoder.decode(ids, ignore_repeat=True) == wanted["ignore_repeat"]


@pytest.mark.parametrize("case", CASES)
def test_state_makes_the_same_encoder(golden, tmp_path: Path, case: str):
    encoder = encoder_of(golden(f"tasks/text/{case}"))
    torch.save(encoder.state, tmp_path / "state.pt")
    other = encoder_from_state(torch.load(tmp_path / "state.pt", weights_only=True))
    assert (other.symbols, other.state, type(other)) == (encoder.symbols, encoder.state, type(encoder))


def test_default_vocabularies(golden):
    assert list(PHONEMES) == read_vocabulary(golden("tasks/text/phoneme_word_encoder") / "files/vocab.txt")
    assert list(CHARACTERS) == read_vocabulary(golden("tasks/text/character_encoder") / "files/vocab.txt")
    assert (len(build_encoder("phoneme")), len(build_encoder("character")), len(build_encoder("word", vocab_list=["A"]))) == (74, 31, 4)


@pytest.mark.parametrize(
    ("text", "published", "sane"),
    [
        ("BOS PLAY AT 5 PM ? EOS\tO O O timeRange timeRange O PlayMusic", "PLAY AT B-timeRange <unk> PM E-timeRange ", None),
        ("BOS A . EOS\tO artist artist PlayMusic", "B-artist A ", "B-artist A E-artist"),
        ("BOS , A EOS\tO artist artist PlayMusic", "A E-artist", "B-artist A E-artist"),
        ("BOS A , B EOS\tO artist O artist PlayMusic", "B-artist A E-artist B-artist B E-artist", "B-artist A B E-artist"),
        ("BOS . EOS\tO O PlayMusic", "", ""),
    ],
)
def test_punctuation_in_slots(tmp_path: Path, text: str, published: str, sane: str | None):
    (tmp_path / "slots.txt").write_text(SLOTS)
    for flag, wanted in ((True, published), (False, published.strip() if sane is None else sane)):
        encoder = build_encoder("character-slot", slots_file=tmp_path / "slots.txt", published=flag)
        ids = encoder.encode(text)
        assert encoder.decode(ids) == wanted
        assert (ids[-1:] == [1]) == (not flag or text.split("\t")[0].split()[-2] not in ".?")
        assert encoder_from_state(encoder.state).encode(text) == ids


def test_characters_of_texts():
    assert characters_of(["BA\n", " Ä A"]) == [" ", "A", "B", "Ä"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("sentencepiece")
    path = tmp_path_factory.mktemp("model") / "pieces.model"
    letters = enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    path.write_bytes(train_model([f"PLAY SOME MUSIC BY THE BAND NUMBER {number} {letter}" for number, letter in letters], 46))
    return path


def test_subwords(model: Path):
    encoder = build_encoder("subword", model)
    ids = encoder.encode("PLAY THE BAND\n")
    assert (len(encoder), ids[-1], encoder.decode([0, *ids, 7, 7])) == (46, 1, "PLAY THE BAND")
    assert UNK in encoder.encode("PLAY é")
    assert encoder_from_state(encoder.state).encode("PLAY SOME BAND") == encoder.encode("PLAY SOME BAND")


def test_subwords_with_slots(model: Path, tmp_path: Path):
    (tmp_path / "slots.txt").write_text(SLOTS)
    encoder = build_encoder("subword", model, slots_file=tmp_path / "slots.txt")
    ids = encoder.encode("BOS PLAY MUSIC BY THE BAND EOS\tO O O O artist artist PlayMusic")
    assert encoder.mode == "subword-slot"
    assert len(encoder) == 46 + 2 * 3
    assert encoder.decode(ids) == "PLAY MUSIC BY B-artist THE BAND E-artist"
    assert encoder_from_state(encoder.state).decode(ids) == encoder.decode(ids)


def test_sentencepiece_models_of_other_ids_are_refused(tmp_path: Path):
    sentencepiece = pytest.importorskip("sentencepiece")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["A B C D"] * 20), model_prefix=str(tmp_path / "m"), vocab_size=9, minloglevel=2
    )
    with pytest.raises(DataError, match="pad_id=0"):
        build_encoder("subword", tmp_path / "m.model")
    (tmp_path / "no.model").write_bytes(b"nothing")
    with pytest.raises(DataError, match="no sentencepiece model"):
        build_encoder("subword", tmp_path / "no.model")


def test_without_sentencepiece(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(__import__("sys").modules, "sentencepiece", None)
    (tmp_path / "any.model").write_bytes(b"x")
    with pytest.raises(MissingDependencyError, match="pip install sentencepiece"):
        build_encoder("subword", tmp_path / "any.model")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("artist\nO\n", "first line must be 'O', not 'artist'"),
        ("", "first line must be 'O', not ''"),
        ("O\n", "names no slot"),
        ("O\na\na\n", "'a' more than once"),
    ],
)
def test_wrong_slots_files(tmp_path: Path, content: str, sentence: str):
    (tmp_path / "slots.txt").write_text(content)
    with pytest.raises(DataError, match=sentence):
        read_slots(tmp_path / "slots.txt")


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
def test_the_end_of_a_slots_file_adds_no_slot(tmp_path: Path, end: str):
    (tmp_path / "slots.txt").write_bytes(("O\nartist\ncity" + end).encode())
    assert read_slots(tmp_path / "slots.txt") == ["artist", "city"]


@pytest.mark.parametrize("content", ["<eos>\nA", "A\nB\nA", "", "A\n\nB\n\n"])
def test_wrong_vocabularies(tmp_path: Path, content: str):
    (tmp_path / "vocab.txt").write_text(content)
    with pytest.raises(DataError, match="vocabulary file"):
        read_vocabulary(tmp_path / "vocab.txt")


@pytest.mark.parametrize("mode", ["charcter", "bert"])
def test_unknown_mode(mode: str):
    with pytest.raises(UnknownNameError, match="unknown text mode"):
        build_encoder(mode)


def test_wrong_settings(tmp_path: Path):
    (tmp_path / "vocab.txt").write_text("A\n")
    for options, error in (
        ({"mode": "word", "vocab_file": tmp_path / "vocab.txt", "vocab_list": ["A"]}, ConfigError),
        ({"mode": "character-slot"}, ConfigError),
        ({"mode": "subword"}, ConfigError),
        ({"mode": "subword", "vocab_file": tmp_path / "none"}, DataError),
        ({"mode": "word", "vocab_file": tmp_path / "none"}, DataError),
        ({"mode": "character", "slots_file": tmp_path / "none"}, DataError),
    ):
        with pytest.raises(error):
            build_encoder(**options)
    with pytest.raises(ToolkitError, match="unknown text mode"):
        encoder_from_state({"mode": "other", "vocabulary": []})


@pytest.mark.parametrize("line", ["BOS A EOS", "BOS A EOS\tO O", "A\tO", "", "BOS A  EOS\tO O X"])
def test_lines_that_are_no_sentence_with_labels(tmp_path: Path, line: str):
    (tmp_path / "slots.txt").write_text(SLOTS)
    with pytest.raises(DataError, match="as many labels"):
        build_encoder("character-slot", slots_file=tmp_path / "slots.txt").encode(line)
