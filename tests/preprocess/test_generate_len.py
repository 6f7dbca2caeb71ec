"""generate_len_for_bucket.py on small trees of real audio files, with both generations of its flags."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from preprocess import generate_len_for_bucket as program
from utility.errors import DataError


def put(path, frames: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(frames, dtype=np.float32), 16000)


@pytest.fixture
def corpus(tmp_path):
    """Four utterances of two LibriSpeech splits, beside a folder that is none."""
    root = tmp_path / "some corpus"
    for name, frames in {"1-1-0": 1600, "1-1-1": 4800, "1-1-2": 1600}.items():
        put(root / f"train-clean-100/1/1/{name}.flac", frames)
    put(root / "dev-clean/2/2/2-2-0.flac", 320)
    (root / "notes").mkdir()
    (root / "train-clean-100/1/1/1-1.trans.txt").write_text("1-1-0 A B\n")
    return root


TABLE = """,file_path,length,label
0,train-clean-100/1/1/1-1-1.flac,4800,
1,train-clean-100/1/1/1-1-0.flac,1600,
2,train-clean-100/1/1/1-1-2.flac,1600,
"""


@pytest.mark.parametrize(
    ("flags", "folder"),
    [
        (["--data_root", "{root}", "--output_path", "{out}"], "len_for_bucket"),
        (["-i", "{root}/", "-o", "{out}", "-a", ".flac", "--n_jobs", "12"], "len_for_bucket"),
        (["--data_root", "{root}", "--output_path", "{out}", "--audio_extention", "FLAC", "-n", "lengths"], "lengths"),
    ],
)
def test_both_generations_of_flags_write_s3prls_table_without_asking(flags, folder, corpus, tmp_path, repo):
    words = [flag.format(root=corpus, out=tmp_path / "data") for flag in flags]
    command = [sys.executable, "preprocess/generate_len_for_bucket.py", *words]
    done = subprocess.run(command, cwd=repo, capture_output=True, text=True, input="", timeout=120)
    assert done.returncode == 0, done.stderr
    tables = [tmp_path / "data" / folder / f"{split}.csv" for split in ("train-clean-100", "dev-clean")]
    assert done.stdout.splitlines() == [str(table) for table in tables]
    assert tables[0].read_text() == TABLE
    assert tables[1].read_text() == ",file_path,length,label\n0,dev-clean/2/2/2-2-0.flac,320,\n"


def test_splits_can_be_chosen(corpus, tmp_path):
    assert program.main(["-i", str(corpus), "-o", str(tmp_path), "--splits", "dev-clean"]) == 0
    assert [path.name for path in (tmp_path / "len_for_bucket").iterdir()] == ["dev-clean.csv"]


class Terminal(io.StringIO):
    """A stdin at which somebody sits."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("typed", "wanted"), [("1\n", ["dev-clean"]), ("1 0\n", ["dev-clean", "train-clean-100"])])
def test_a_terminal_is_asked(typed, wanted, corpus, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    assert program.choose_splits(program.find_splits(corpus), None) == wanted
    assert "0. train-clean-100\n1. dev-clean\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("folders", "wanted"),
    [
        (["TEST", "TRAIN", "DOC"], ["TRAIN", "TEST"]),
        (["large", "small", "x"], ["small", "large"]),
        (["b", "a", ".git"], ["a", "b"]),
        (["test-clean", "TRAIN", "train-clean-100"], ["train-clean-100", "test-clean"]),
    ],
)
def test_splits_are_known_by_the_folders_that_are_there(folders, wanted, tmp_path):
    for name in folders:
        (tmp_path / name).mkdir()
    assert program.find_splits(tmp_path) == wanted


def test_names_with_commas_and_other_formats(tmp_path):
    put(tmp_path / "TRAIN/DR1/a, b.WAV", 100)
    assert program.main(["-i", str(tmp_path), "-o", str(tmp_path / "out"), "-a", "wav"]) == 0
    assert '0,"TRAIN/DR1/a, b.WAV",100,\n' in (tmp_path / "out/len_for_bucket/TRAIN.csv").read_text()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["-i", "{root}/nowhere"], "there is no corpus folder {root}/nowhere"),
        (["-i", "{root}/notes"], "the corpus folder {root}/notes holds no folder, hence no split"),
        (["-i", "{root}", "--splits", "dev-claen"], "unknown split 'dev-claen'; did you mean 'dev-clean'?"),
        (["-i", "{root}", "-a", ".wav"], "no .wav files below {root}/train-clean-100, but 3 .flac (see -a)"),
        (["-i", "{root}", "-a", ".flca"], "unknown audio extension '.flca'; did you mean '.flac'?"),
        (["-i", "{root}", "--n_jobs", "0"], "--n_jobs must be at least 1, or -1 for all cores, not 0"),
    ],
)
def test_mistakes_end_in_one_sentence(words, sentence, corpus, tmp_path, capsys):
    assert program.main([word.format(root=corpus) for word in words] + ["-o", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(sentence.format(root=corpus))
    assert captured.out == ""


def test_a_file_that_is_no_audio_is_named(corpus):
    (corpus / "dev-clean/2/2/2-2-1.flac").write_text("not audio")
    with pytest.raises(DataError, match=r"2-2-1\.flac"):
        program.measure(corpus, "dev-clean", ".flac", 1)


def test_real_recordings(shared, tmp_path):
    assert program.main(["-i", str(shared / "data/librispeech_mini"), "-o", str(tmp_path), "--splits", "237"]) == 0
    rows = (tmp_path / "len_for_bucket/237.csv").read_text().splitlines()
    files = sorted((shared / "data/librispeech_mini/237").rglob("*.flac"))
    lengths = [int(row.split(",")[2]) for row in rows[1:]]
    assert len(lengths) == len(files) > 0
    assert lengths == sorted((soundfile.info(path).frames for path in files), reverse=True)
