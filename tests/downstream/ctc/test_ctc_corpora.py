"""Which examples a split has: against S3PRL's recorded ones, and with every kind of damage."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from downstream.blocks.librispeech import read_texts
from downstream.ctc.corpora import Example, examples_of, in_its_case, make_encoder, pronouncing, read_split, splits_of
from downstream.ctc.dataset import Windows
from tests.downstream.ctc.layouts import lay_out_librispeech, lay_out_snips
from utility.errors import ConfigError, DataError, ToolkitError, UnknownNameError

TEXT = {"mode": "word", "vocab_file": "downstream/ctc/vocab/phoneme.txt"}


def recorded(golden, case: str) -> tuple[Path, dict, dict]:
    folder = golden(f"tasks/text/{case}")
    return folder, *(json.loads((folder / f"{name}.json").read_text()) for name in ("params", "outputs"))


def read(corpus: dict[str, Any], text: dict[str, Any], split: str = "train") -> list[Example]:
    encoder = make_encoder(text)
    lexicon = pronouncing(corpus, text, encoder) if corpus["name"] == "libriphone" else None
    return examples_of(read_split(corpus, split, "slots_file" in text), split, encoder, lexicon)


def libriphone_of(folder: Path, params: dict, root: Path) -> list[Example]:
    lay_out_librispeech(root, params["split"], params["transcripts"])
    lexicon = [str(folder / "files" / name) for name in params["lexicon"]]
    corpus = {"name": "libriphone", "path": str(root), "lexicon": lexicon, "train": [params["split"]]}
    return read(corpus, {"mode": "word", "vocab_file": str(folder / "files/vocab.txt")})


@pytest.mark.parametrize("case", ["libriphone_lexicon_lookup", "libriphone_bucket_larger_than_set"])
def test_recorded_phones(golden, tmp_path: Path, case: str):
    folder, params, expected = recorded(golden, case)
    examples = libriphone_of(folder, params, tmp_path)
    assert {example.name: example.ids for example in examples} == expected["ids"]
    assert [example.name for example in examples] == expected["order"]
    assert [len(example.ids) for example in examples] == expected["lengths_in_order"]
    windows = Windows(examples, params["bucket_size"])
    found = {str(index): [examples[i].name for i in windows.indices(index)] for index in range(len(windows))}
    if case == "libriphone_lexicon_lookup":
        assert found == expected["getitem"]
    else:  # S3PRL counts from behind then, and leaves the longest out
        assert set(map(tuple, found.values())) == {tuple(expected["order"])}


def test_missing_words_cost_their_utterances(golden, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    folder, params, expected = recorded(golden, "libriphone_missing_word")
    assert expected["error"] == "KeyError"
    with caplog.at_level(logging.WARNING):
        examples = libriphone_of(folder, params, tmp_path)
    assert sorted(example.name for example in examples) == ["100-2000-0000", "100-2001-0001"]
    assert len(caplog.records) == 1
    assert "1 utterances are left out for 1 words that no lexicon has: NOTAWORDATALL" in caplog.text


def test_unknown_phones_are_refused(golden, tmp_path: Path):
    folder, params, expected = recorded(golden, "libriphone_unknown_phone_in_lexicon")
    assert expected["error"] == "AssertionError"
    with pytest.raises(DataError, match=r"bad\.txt, line 1: the phone 'QQ1' of 'ODDWORD' is not in the vocabulary"):
        libriphone_of(folder, params, tmp_path)


def test_recorded_characters(golden, tmp_path: Path):
    folder, params, expected = recorded(golden, "librispeech_character_corpus")
    lay_out_librispeech(tmp_path, params["split"], params["transcripts"])
    corpus = {"name": "librispeech", "path": str(tmp_path), "train": params["split"]}
    examples = read(corpus, {"mode": "character", "vocab_file": str(folder / "files/vocab.txt")})
    assert {example.name: example.ids for example in examples} == expected["ids"]
    assert [example.name for example in examples] == expected["order"]
    windows = Windows(examples, params["bucket_size"])
    assert {str(i): [examples[j].name for j in windows.indices(i)] for i in range(6)} == expected["getitem"]


def test_recorded_commands(golden, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    folder, params, expected = recorded(golden, "snips_corpus_reading")
    lay_out_snips(tmp_path, params["wavs"], (folder / "files/all.iob.snips.txt").read_text())
    text = {"mode": "character-slot", **{f"{kind}_file": str(folder / f"files/{kind}.txt") for kind in ("vocab", "slots")}}
    encoder = make_encoder(text)
    for split, wanted in expected.items():
        corpus = {"name": "snips", "path": str(tmp_path), split: [split], f"{split}_speakers": params["speakers"][split]}
        examples = read(corpus, text, split)
        assert {example.name: example.ids for example in examples} == wanted["ids"]
        assert [len(example.ids) for example in examples] == wanted["lengths_in_order"]
        assert {example.name: encoder.decode(example.ids) for example in examples} == wanted["decoded"]
    assert "1 recordings without a text are left out, such as Ivy-snips-train-99" in caplog.text


def test_speakers_whose_names_begin_alike(tmp_path: Path):
    lay_out_snips(tmp_path, {"train": ["Iv-snips-1", "Ivy-snips-1"]}, "Iv-snips-1 BOS A EOS\tO O X\nIvy-snips-1 BOS A EOS\tO O X\n")
    corpus = {"name": "snips", "path": str(tmp_path), "train": ["train"], "train_speakers": ["Iv"]}
    assert [utterance.name for utterance in read_split(corpus, "train", slots=True)] == ["Iv-snips-1"]


def test_commands_without_slots(snips: Path):
    corpus = {"name": "snips", "path": str(snips / "SNIPS"), "test": ["test"]}
    plain = {u.name: u.text for u in read_split(corpus, "test", slots=False)}
    tagged = {u.name: u.text for u in read_split(corpus, "test", slots=True)}
    assert plain == {name: text.split("\t")[0].removeprefix("BOS ").removesuffix(" EOS") for name, text in tagged.items()}
    assert len(plain) == 4


def test_tables(tmp_path: Path):
    (tmp_path / "train.tsv").write_text('id\tpath\ttext\n1\tb/2.wav\tHE SAID "NO\n2\ta/1.mp3\tDÉJÀ\n3\ta/0.wav\t\n', encoding="utf-8")
    corpus = {"name": "sbcsae", "path": str(tmp_path), "train": ["train.tsv"]}
    utterances = read_split(corpus, "train", slots=False)
    assert [(u.name, u.path, u.text) for u in utterances] == [
        ("1", f"{tmp_path}/a/1.mp3", "DÉJÀ"),
        ("2", f"{tmp_path}/b/2.wav", 'HE SAID "NO'),
    ]
    encoder = make_encoder({"mode": "character"}, lambda: [u.text for u in utterances])
    assert encoder.vocabulary == tuple(sorted(set('DÉJÀHE SAID "NO')))
    (tmp_path / "train.tsv").write_text("path\tsentence\nx\ty\n")
    with pytest.raises(DataError, match="no column 'text'"):
        read_split(corpus, "train", slots=False)


def test_empty_transcripts_and_unknown_characters_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    lay_out_librispeech(tmp_path, "dev", {"1-2-3": "", "1-2-4": "A B", "1-2-5": "é1"})
    examples = read({"name": "librispeech", "path": str(tmp_path), "dev": ["dev"]}, {"mode": "character"}, "dev")
    assert [example.name for example in examples] == ["1-2-4", "1-2-5"]
    assert [record.getMessage() for record in caplog.records] == [
        "split 'dev': 1 utterances without any word are left out",
        "split 'dev': 2 tokens are not in the vocabulary and become <unk>",
    ]


@pytest.mark.parametrize(
    ("corpus", "error", "sentence"),
    [
        ({"name": "libriphon"}, UnknownNameError, "did you mean 'libriphone'"),
        ({"name": "librispeech", "pth": "x"}, ConfigError, "'pth' is neither an option nor.* did you mean 'path'"),
        ({"name": "librispeech", "batchsize": 3, "worker": 2}, ConfigError, "'batchsize'.*'worker'"),
        ({"name": "librispeech", "train": ["t"]}, ConfigError, "field 'path' is missing"),
        ({"name": "librispeech", "path": "nowhere", "train": ["t"]}, DataError, "corpus.path: folder nowhere does not exist"),
        ({"name": "librispeech", "path": "{}", "train": ["t"]}, DataError, "has no folder 't'"),
        ({"name": "snips", "path": "{}", "train": ["part"], "part_speakers": ["Amy"]}, DataError, "no recording of Amy; it has: Ivy"),
        (
            {"name": "snips", "path": "{}", "train": ["part"]},
            DataError,
            r"corpus\.path: file .*all\.iob\.snips\.txt does not exist; preprocess/snips",
        ),
        ({"name": "tsv", "path": "{}", "train": ["t.tsv"]}, DataError, "no table t.tsv"),
        ({"name": "librispeech", "path": "{}", "dev": ["part"]}, UnknownNameError, "unknown split 'train'"),
    ],
)
def test_wrong_corpora(tmp_path: Path, corpus: dict, error: type, sentence: str):
    (tmp_path / "part").mkdir()
    (tmp_path / "part/Ivy-snips-1.wav").touch()
    if "path" in corpus:
        corpus = {**corpus, "path": corpus["path"].format(tmp_path)}
    with pytest.raises(error, match=sentence):
        read_split(corpus, "train", slots=True)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("BOS A B EOS\tO O X", "has 4 words but 3 labels"),
        ("A B C\tO O O", "does not begin with BOS and end with EOS"),
        ("BOS A B\tO O O", "does not begin with BOS and end with EOS"),
        ("BOS A EOS", "has no tab between words and labels"),
    ],
)
def test_a_line_that_would_be_read_shifted(tmp_path: Path, line: str, fault: str):
    lay_out_snips(tmp_path, {"train": ["Ivy-snips-1"]}, f"Ivy-snips-0 NOT WANTED\nIvy-snips-1 {line}\n")
    corpus = {"name": "snips", "path": str(tmp_path), "train": ["train"]}
    with pytest.raises(DataError) as caught:
        read_split(corpus, "train", slots=True)
    assert str(caught.value).startswith(
        f"config.downstream_expert.corpus.path: {tmp_path}/all.iob.snips.txt: utterance Ivy-snips-1 {fault}; "
    )


def test_labels_beyond_the_words_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """S3PRL's records hold such a line: its labels are taken from the first on."""
    lay_out_snips(tmp_path, {"train": ["Ivy-snips-1", "Ivy-snips-2"]}, "Ivy-snips-1 BOS A EOS\tO O O X\nIvy-snips-2 BOS A EOS\tO O X\n")
    read_split({"name": "snips", "path": str(tmp_path), "train": ["train"]}, "train", slots=True)
    (record,) = caplog.records
    assert "1 commands have more labels than words, such as Ivy-snips-1 (3 words, 4 labels)" in record.getMessage()


def test_an_empty_word_has_its_label(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """A double space is a word to S3PRL, which leaves it out together with its label; no label is then that of another word."""
    lay_out_snips(tmp_path, {"train": ["Ivy-snips-1"]}, "Ivy-snips-1 BOS A  B EOS\tO O O artist X\n")
    text = {"mode": "character-slot", "vocab_file": "downstream/ctc/vocab/character.txt", "slots_file": str(tmp_path / "slots.txt")}
    (example,) = read({"name": "snips", "path": str(tmp_path), "train": ["train"]}, text)
    assert make_encoder(text).decode(example.ids) == "A B-artist B E-artist"
    assert not caplog.records


def test_a_damaged_line_names_its_utterance(tmp_path: Path):
    lay_out_snips(tmp_path, {"train": ["Ivy-snips-1"]}, "")
    text = {"mode": "character-slot", "slots_file": str(tmp_path / "slots.txt")}
    (tmp_path / "all.iob.snips.txt").write_text("Ivy-snips-1 BOS A EOS\tO artst X\n")
    with pytest.raises(DataError, match=r"^utterance Ivy-snips-1: unknown slot 'artst'; did you mean 'artist'"):
        read({"name": "snips", "path": str(tmp_path), "train": ["train"]}, text)


def test_texts_in_small_letters(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """They are read in capitals for a vocabulary of capitals, and as they are for one that has small letters."""
    lay_out_librispeech(tmp_path, "train", {"1-2-4": "a b", "1-2-5": "B A"})
    corpus = {"name": "librispeech", "path": str(tmp_path), "train": ["train"]}
    utterances = read_split(corpus, "train", slots=False)
    capitals, both = make_encoder({"mode": "character"}), make_encoder({"mode": "character"}, lambda: ["ab", "AB"])
    assert [u.text for u in in_its_case(utterances, "train", capitals)] == ["A B", "B A"]
    assert [record.getMessage() for record in caplog.records] == [
        "split 'train': 1 texts with small letters, such as that of 1-2-4, are read in capitals, since the vocabulary has no others"
    ]
    assert in_its_case(utterances, "train", both) == utterances


def test_phones_of_texts_in_small_letters(tmp_path: Path):
    lay_out_librispeech(tmp_path, "train", {"1-2-4": "the cat"})
    (tmp_path / "lexicon.txt").write_text("THE DH AH0\nCAT K AE1 T\n")
    corpus = {"name": "libriphone", "path": str(tmp_path), "train": ["train"], "lexicon": str(tmp_path / "lexicon.txt")}
    (example,) = read(corpus, TEXT)
    assert make_encoder(TEXT).decode(example.ids) == "DH AH0 K AE1 T"


@pytest.mark.parametrize(
    ("file", "corpus", "sentence"),
    [
        ("part/1/2/1-2.trans.txt", {"name": "librispeech"}, r"corpus\.path: file of texts .*1-2\.trans\.txt is no UTF-8 text: line 2"),
        ("all.iob.snips.txt", {"name": "snips"}, r"corpus\.path: file .*all\.iob\.snips\.txt is no UTF-8 text: line 2"),
        ("part.tsv", {"name": "tsv", "train": ["part.tsv"]}, r"corpus: table .*part\.tsv is no UTF-8 text: line 2"),
    ],
)
def test_texts_in_another_encoding(tmp_path: Path, file: str, corpus: dict, sentence: str):
    lay_out_librispeech(tmp_path, "part", {"1-2-3": "A"})
    (tmp_path / "part/Ivy-snips-1.wav").touch()
    (tmp_path / file).write_bytes(b"path\ttext\nD\xc9J\xc0\n")
    with pytest.raises(DataError, match=sentence):
        read_split({"path": str(tmp_path), "train": ["part"], **corpus}, "train", slots=True)


def test_a_mark_before_the_first_line_does_not_count(tmp_path: Path):
    lay_out_snips(tmp_path, {"train": ["Ivy-snips-1"]}, "\ufeffIvy-snips-1 BOS A EOS\tO O X\n")
    (tmp_path / "train.tsv").write_text("\ufeffpath\ttext\na.wav\tA\n")
    for corpus in ({"name": "snips", "train": ["train"]}, {"name": "tsv", "train": ["train.tsv"]}):
        assert len(read_split({**corpus, "path": str(tmp_path)}, "train", slots=True)) == 1


def test_a_tab_may_stand_before_a_text(tmp_path: Path):
    (tmp_path / "1-2.trans.txt").write_text("1-2-3\tA B\n1-2-4  C D \n1-2-5\n\n")
    assert read_texts(tmp_path / "1-2.trans.txt") == {"1-2-3": "A B", "1-2-4": "C D", "1-2-5": ""}


def test_nothing_left(tmp_path: Path):
    lay_out_librispeech(tmp_path, "dev", {"1-2-3": ""})
    with pytest.raises(DataError, match="none of its 1 utterances can be used"):
        read({"name": "librispeech", "path": str(tmp_path), "train": ["dev"]}, {"mode": "character"})


def test_lexicon_must_be_given(tmp_path: Path):
    with pytest.raises(ToolkitError, match="field 'lexicon' is missing"):
        pronouncing({"name": "libriphone"}, TEXT, make_encoder(TEXT))


def test_splits_of_a_config():
    corpus = {"name": "snips", "path": "x", "train_speakers": ["A"], "train": "train", "dev": ["valid"], "more": ["a", "b"]}
    assert splits_of(corpus) == {"train": ["train"], "dev": ["valid"], "more": ["a", "b"]}


def test_shipped_vocabularies_are_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert len(make_encoder(TEXT)) == 74
    assert len(make_encoder({"mode": "character", "vocab_file": "downstream/ctc/vocab/character.txt"})) == 31


def test_real_commands_survive_the_slot_encoder(shared: Path, tmp_path: Path):
    """The texts of SNIPS, in the form of all.iob.snips.txt."""
    sentences = []
    for file in sorted((shared / "data/snips_text").glob("*/validate_*.json")):
        for intent, items in json.loads(file.read_text(encoding="utf-8")).items():
            sentences += [(intent, [(word, part.get("entity", "O")) for part in i["data"] for word in _words(part["text"])]) for i in items]
    slots = sorted({label for _, pairs in sentences for _, label in pairs} - {"O"})
    assert (len(sentences), len(slots)) == (700, 38)
    (tmp_path / "slots.txt").write_text("\n".join(["O", *slots]))
    encoder = make_encoder({"mode": "character-slot", "slots_file": str(tmp_path / "slots.txt")})
    assert len(encoder) == 31 + 2 * 38
    for intent, pairs in sentences:
        words, labels = zip(*pairs, strict=True)
        ids = encoder.encode(f"BOS {' '.join(words)} EOS\tO {' '.join(labels)} {intent}")
        assert encoder.decode(ids) == _tagged(pairs)


def _words(text: str) -> list[str]:
    kept = "".join(character for character in text.upper() if "A" <= character <= "Z" or character in " '")
    return kept.split()


def _tagged(pairs: list[tuple[str, str]]) -> str:
    """The tagged text by a plain definition."""
    out, labels = [], [label for _, label in pairs]
    for index, (word, label) in enumerate(pairs):
        out += [f"B-{label}"] if label != "O" and (index == 0 or labels[index - 1] != label) else []
        out.append(word)
        out += [f"E-{label}"] if label != "O" and (index + 1 == len(pairs) or labels[index + 1] != label) else []
    return " ".join(out)
