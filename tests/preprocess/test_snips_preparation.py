"""Audio SNIPS: normalisation against recorded output, and the whole preparation on a small archive."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from preprocess import snips_preprocess, snips_text_norm
from preprocess.snips_text_norm import normalised, replaced, spoken
from utility.errors import DataError

HEADER = "u_id\ttext\tslots\tintent\n"
TABLES = {
    "train": "snips-train-0\tPlay some Mf Doom on pandora .\tO O PlayMusic/artist PlayMusic/artist O PlayMusic/service O\tPlayMusic\n"
    "snips-train-1\tbook a table  for 2\tO O O O O BookRestaurant/party_size_number\tBookRestaurant\n",
    "valid": "snips-valid-168\tPlay Señor Coconut\tO PlayMusic/artist PlayMusic/artist\tPlayMusic\n",
    "test": 'snips-test-0\tfind "Saga"\tO SearchCreativeWork/object_name\tSearchCreativeWork\n',
}


def recorded(golden, case: str) -> tuple:
    folder = golden(f"tasks/text/{case}")
    return tuple(json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in ("params", "outputs"))


def test_recorded_sentences(golden):
    params, outputs = recorded(golden, "snips_sentence_normalisation")
    assert len(outputs) == 93
    for (text, labels), expected in zip(params["items"], outputs, strict=True):
        words, slots = normalised(text, labels.split())
        found = {"text": " ".join(words), "text_upper": " ".join(words).upper(), "slots": " ".join(slots)}
        assert found == expected


def test_recorded_word_rules(golden):
    params, outputs = recorded(golden, "snips_word_rules")
    assert [replaced(word) for word in params["words"]] == outputs["out"]
    tables = {
        "months": snips_text_norm.MONTHS,
        "replace_words": snips_text_norm.REPLACED,
        "removed_characters": sorted(snips_text_norm.ACCENTS),
        "reservations": snips_text_norm.RESERVED,
    }
    assert tables == {**outputs["tables"], "removed_characters": sorted(outputs["tables"]["removed_characters"])}


@pytest.mark.parametrize(
    ("token", "words"),
    [("1980s", "nineteen eighties"), ("5:30", "five thirty"), ("50%", "fifty percent"), ("$1", "one dollar"), ("21st", "twenty first")],
)
def test_numbers_in_other_forms(token: str, words: str):
    assert " ".join(spoken(token)) == words


def test_own_spelling_keeps_what_was_written():
    assert [spoken(word, own_spelling=True) for word in ("señor", "osteria")] == [["senor"], ["osteria"]]
    assert [spoken(word) for word in ("señor", "osteria")] == [["seor"], ["hysteria"]]


def test_fewer_labels_than_words_are_an_error():
    with pytest.raises(DataError, match="3 words but 2 labels in 'play a song'"):
        normalised("play a song", ["O", "O"])


def test_without_num2words_one_sentence_says_so(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "num2words", None)
    assert snips_text_norm.main(["play song 3"]) == 2
    assert capsys.readouterr().err == "reading numbers out needs the package 'num2words', which is not installed: pip install num2words\n"


def test_the_program_prints_a_line_per_sentence(capsys):
    assert snips_text_norm.main(["Play R&B from 1987 .", "at 7 pm"]) == 0
    assert capsys.readouterr().out == "PLAY R AND B FROM NINETEEN EIGHTY SEVEN\nAT SEVEN P M\n"


@pytest.fixture
def corpora(tmp_path: Path) -> Path:
    """A folder with the annotation's repository and the archive of recordings: 2 s at 22.05 kHz by two of the voices, in mp3."""
    annotation = tmp_path / snips_preprocess.REPOSITORY / "data" / "nlu_annotation"
    annotation.mkdir(parents=True)
    for split, rows in TABLES.items():
        (annotation / split).write_text(HEADER + rows, encoding="utf-8")
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(44100) / 22050)
    with zipfile.ZipFile(tmp_path / snips_preprocess.ARCHIVE, "w") as archive:
        for voice, name in (("Salli", "snips-valid-168"), ("Ivy", "snips-train-0"), ("Ivy", "snips-train-1"), ("Nobody", "snips-test-0")):
            soundfile.write(tmp_path / "clip.mp3", tone, 22050)
            archive.write(tmp_path / "clip.mp3", f"audio_slu/audio_{voice}/snips/{name}.mp3")
    (tmp_path / "clip.mp3").unlink()
    return tmp_path


def test_the_whole_preparation(repo: Path, corpora: Path):
    script = [str(repo / "preprocess/snips_prepare_data.sh"), str(corpora), "--jobs", "1"]
    environment = {"PYTHON": sys.executable, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(script, cwd=corpora, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    out = corpora / "SNIPS"
    wavs = {str(path.relative_to(out)) for path in out.rglob("*.wav")}
    assert wavs == {"valid/Salli-snips-valid-168.wav", "train/Ivy-snips-train-0.wav", "train/Ivy-snips-train-1.wav"}
    info = soundfile.info(out / "valid/Salli-snips-valid-168.wav")
    assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
    assert info.duration == pytest.approx(2, abs=0.1)
    lines = (out / "all.iob.snips.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 16 * 4
    assert lines[0].startswith("Aditi-snips-test-0 BOS ") and lines[-1].startswith("Salli-snips-train-1 BOS ")
    assert "Ivy-snips-train-0 BOS PLAY SOME M F DOOM ON PANDORA EOS\tO O O artist artist artist O service PlayMusic" in lines
    assert "Joey-snips-train-1 BOS BOOK A TABLE FOR TWO EOS\tO O O O O party_size_number BookRestaurant" in lines
    assert "Amy-snips-valid-168 BOS PLAY SEOR COCONUT EOS\tO O artist artist PlayMusic" in lines
    assert (out / "slots.txt").read_text() == "O\nartist\nobject_name\nparty_size_number\nservice"
    assert "Amy-snips-valid-168 PLAY SEOR COCONUT" in (out / "all-trans.txt").read_text().splitlines()
    assert "5 slot labels and 3 intents; the whole corpus has 40 and 7" in done.stderr
    assert not list(out.rglob("*part*"))

    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    (out / "train/Ivy-snips-train-0.wav").unlink()
    again = subprocess.run(script, cwd=corpora, env=environment, capture_output=True, text=True)
    assert again.returncode == 0 and "is there already" in again.stderr
    changed = {path.name for path, time in before.items() if path.stat().st_mtime_ns != time}
    assert changed == {"Ivy-snips-train-0.wav"}


def test_unreadable_recordings_are_counted_and_named(tmp_path: Path, capsys):
    folder = tmp_path / "audio_slu/audio_Amy/snips"
    folder.mkdir(parents=True)
    soundfile.write(folder / "snips-test-0.mp3", np.zeros(16000), 16000)
    (folder / "snips-test-1.mp3").write_bytes(b"no audio at all")
    assert snips_preprocess.main(["audio", str(tmp_path / "audio_slu"), str(tmp_path / "out"), "--jobs", "1"]) == 0
    said = capsys.readouterr().err
    assert "snips-test-1.mp3" in said and "1 of 2 recordings cannot be read and are left out" in said
    (folder / "snips-test-0.mp3").unlink()
    (tmp_path / "out/test/Amy-snips-test-0.wav").unlink()
    assert snips_preprocess.main(["audio", str(tmp_path / "audio_slu"), str(tmp_path / "out"), "--jobs", "1"]) == 2
    assert "none of the 1 mp3 files" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ("snips-test-0\tone column less\tO\n", "test, line 2: 3 columns instead of 4"),
        ("a\tb c\tO\tPlayMusic\n", "test, line 2: 2 words but 1"),
    ],
)
def test_broken_annotation_is_named(corpora: Path, table: str, sentence: str, capsys):
    repository = corpora / snips_preprocess.REPOSITORY
    (repository / "data/nlu_annotation/test").write_text(HEADER + table)
    assert snips_preprocess.main(["text", str(repository), str(corpora / "out")]) == 2
    assert sentence in capsys.readouterr().err
    assert not (corpora / "out" / "all.iob.snips.txt").exists()


def test_missing_places_are_named(tmp_path: Path, capsys):
    assert snips_preprocess.main(["text", str(tmp_path), str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("annotation ") and said.endswith("does not exist\n")
    assert snips_preprocess.main(["audio", str(tmp_path / "nowhere"), str(tmp_path / "out")]) == 2
    assert "nowhere does not exist" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert snips_preprocess.main(["audio", str(tmp_path / "empty"), str(tmp_path / "out")]) == 2
    assert "no mp3 file of a known speaker" in capsys.readouterr().err
