"""Tables of lengths and the batches made of them, against S3PRL's recorded ones."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from downstream.blocks import presence
from downstream.blocks.length_buckets import TableRow, check_recordings, form_batches, published_batches, read_lengths
from preprocess.generate_len_for_bucket import write_table
from utility.errors import DataError

ASR_CASES = ["bucket_one", "long_utterances", "longest_last_row_missing", "missing_transcripts", "sample_counts", "short_utterances"]


@pytest.mark.parametrize("case", ASR_CASES)
def test_recorded_batches(golden, tmp_path: Path, case: str):
    folder = golden(f"tasks/batching/asr_{case}")
    params = json.loads((folder / "params.json").read_text())
    for split, rows in params["tables"].items():
        write_table(tmp_path / f"{split}.csv", rows)
    rows = read_lengths(tmp_path, list(params["tables"]), "LibriSpeech")
    spoken = {key.rpartition("/")[2] for key in params["transcripts"]}
    batches = published_batches(rows, params["bucket_size"], lambda row: row.name in spoken)
    assert [[row.name for row in batch] for batch in batches] == json.loads((folder / "outputs.json").read_text())["batches"]


def rows(count: int) -> list[TableRow]:
    return [TableRow(f"dev-clean/1/2/1-2-{index:04d}.flac", 90000 - index) for index in range(count)]


@pytest.mark.parametrize("count", [32, 64, 96])
def test_published_32_is_16(count: int):
    assert published_batches(rows(count), 32, lambda row: True) == form_batches(rows(count), 16)


def test_no_utterance_is_lost():
    batches = form_batches(rows(37), 4)
    assert [len(batch) for batch in batches] == [4] * 9 + [1]
    assert [row for batch in batches for row in batch] == rows(37)
    assert sum(map(len, published_batches(rows(37), 4, lambda row: True))) == 36


def test_names():
    assert TableRow("train-clean-100/19/198/19-198-0001.flac", 7).name == "19-198-0001"
    assert TableRow("a.b.flac", 7).name == "a.b"


def test_missing_table(tmp_path: Path):
    write_table(tmp_path / "data/len_for_bucket/dev-clean.csv", [])
    with pytest.raises(DataError) as caught:
        read_lengths(tmp_path / "data/len_for_bucket", ["dev-claen"], "/corpora/LibriSpeech", "datarc.bucket_file")
    said = str(caught.value)
    assert said.startswith("datarc.bucket_file: there is no table of lengths ")
    assert "did you mean 'dev-clean'" in said
    assert f"-i /corpora/LibriSpeech -o {tmp_path / 'data'} -n len_for_bucket --splits dev-claen" in said


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"a,b\n1,2\n", r"^field: table of lengths .*dev-clean\.csv has no column 'file_path'"),
        (b",file_path,length,label\n0,x.flac,long,\n", r"^field: line 2 of .*dev-clean\.csv has no path with .* 'x.flac', 'long'"),
        (b",file_path,length,label\n0,x.flac\n", "line 2 of .*dev-clean.csv has no path with a number of samples: 'x.flac', ''"),
        (b",file_path,length,label\n0,\xe9.flac,7,\n", r"dev-clean\.csv is no UTF-8 text: line 2 holds the byte 0xe9 at column 3"),
    ],
)
def test_wrong_table(tmp_path: Path, content: bytes, sentence: str):
    (tmp_path / "dev-clean.csv").write_bytes(content)
    with pytest.raises(DataError, match=sentence):
        read_lengths(tmp_path, ["dev-clean"], "LibriSpeech", "field")


def test_a_mark_at_the_beginning_of_a_table_does_not_count(tmp_path: Path):
    (tmp_path / "dev-clean.csv").write_bytes(b"\xef\xbb\xbffile_path,length\r\nx.flac,7\r\n")
    assert read_lengths(tmp_path, ["dev-clean"], "LibriSpeech") == [TableRow("x.flac", 7)]


def test_recordings_that_are_gone_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Each folder is listed once, whether it is there or not."""
    for chapter in (1, 2):
        (tmp_path / f"a/{chapter}").mkdir(parents=True)
        (tmp_path / f"a/{chapter}/0.flac").touch()
    there = [TableRow(f"a/{chapter}/0.flac", 5) for chapter in (1, 2)]
    check_recordings(there, "data/len", ["a"], tmp_path)
    gone = [*there, TableRow("a/2/1.flac", 4), TableRow("b/7/0.flac", 3), TableRow("b/7/1.flac", 2)]
    listed, scandir = [], os.scandir
    monkeypatch.setattr(presence.os, "scandir", lambda folder: listed.append(folder) or scandir(folder))
    with pytest.raises(DataError) as caught:
        check_recordings(gone, "data/len", ["a", "b"], tmp_path, "datarc.bucket_file")
    said = str(caught.value)
    assert said.startswith("datarc.bucket_file: 3 of 5 recordings in the tables of lengths a, b in data/len are not below ")
    assert "such as a/2/1.flac; this makes the tables anew: python3 preprocess/generate_len_for_bucket.py" in said
    assert said.endswith("-o data -n len --splits a b")
    assert len(listed) == 3
