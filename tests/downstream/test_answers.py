"""Answers as lines of JSON and as a table."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from downstream.answers import writer
from utility.errors import UsageError

GIVEN = [
    {"score": np.float32(2.5), "words": ["a", "b"], "file": "ö, x.wav"},
    {"score": 3.0, "words": [], "file": "y.wav"},
]


def test_lines_of_json(tmp_path, capsys):
    with writer(str(tmp_path / "a.jsonl")) as write:
        for given in GIVEN:
            write(given)
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()]
    assert lines == [{"score": 2.5, "words": ["a", "b"], "file": "ö, x.wav"}, GIVEN[1]]
    with writer(None) as write:
        write(GIVEN[1])
    assert json.loads(capsys.readouterr().out) == GIVEN[1]


def test_a_table_where_the_name_says_so(tmp_path):
    path = tmp_path / "a.CSV"
    with writer(str(path)) as write:
        write(GIVEN[0])
        with path.open(newline="", encoding="utf-8") as file:  # what is answered is there at once
            assert len(list(csv.reader(file))) == 2
        write(GIVEN[1])
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows == [["file", "score", "words"], ["ö, x.wav", "2.5", '["a", "b"]'], ["y.wav", "3.0", "[]"]]


def test_answers_that_no_table_holds_are_one_sentence(tmp_path):
    sentence = r"different fields \(file, a; then a, b, file\), which only JSON lines can hold"
    with pytest.raises(UsageError, match=sentence), writer(str(tmp_path / "a.csv")) as write:
        write({"a": 1, "file": "x"})
        write({"a": 1, "b": 2, "file": "y"})


def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path):
    with pytest.raises(UsageError, match=r"--output .*: Is a directory"), writer(str(tmp_path)):
        pass
