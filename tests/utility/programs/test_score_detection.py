"""The scorer of query by example as a program."""

from __future__ import annotations

import re

import pytest

from utility.metrics.detection_files import write_stdlist
from utility.score_detection import main


@pytest.fixture
def evaluation(tmp_path):
    """A folder with answers and one with the truth: a is in 1, b in 2 of three documents; b's trials are missing."""
    truth = tmp_path / "truth"
    truth.mkdir()
    (truth / "x.tlist.xml").write_text('<termlist><term termid="a"/><term termid="b"/><term termid="never"/></termlist>')
    (truth / "x.ecf.xml").write_text("<ecf>" + "".join(f'<excerpt audio_filename="{n}.wav"/>' for n in "123") + "</ecf>")
    (truth / "x.rttm").write_text("LEXEME 1 1 0 1 a lex <NA> <NA>\nLEXEME 2 1 0 1 b lex <NA> <NA>\n")
    write_stdlist(tmp_path / "result/benchmark.stdlist.xml", {"a": [("1", 3, True), ("2", 1, False), ("3", 0, False)]})
    return tmp_path / "result", truth


def test_it_prints_and_writes_the_official_lines(evaluation, capsys):
    result, truth = evaluation
    for answers in (result, result / "benchmark.stdlist.xml"):
        assert main([str(answers), str(truth), "-10"]) == 0
        printed = capsys.readouterr().out
        assert printed.startswith("actTWV: 0.50000000  maxTWV: 0.50000000  Threshold: 3\nactCnxe: ")
        assert re.search(r"  minCnxe: 0\.\d{8}\n$", printed)
        assert (result / "score.out").read_text() == printed


def test_scores_that_cannot_be_written_are_printed(evaluation, capsys):
    """As in a folder that belongs to someone else; here another folder has the name of the file."""
    result, truth = evaluation
    (result / "score.out").mkdir()
    assert main([str(result), str(truth)]) == 2
    said = capsys.readouterr()
    assert said.out.startswith("actTWV: 0.50000000  maxTWV: 0.50000000")
    assert said.err == f"the scores could not be written to {result / 'score.out'}: Is a directory\n"


def test_the_default_score_counts(evaluation, capsys):
    outputs = []
    for default in ("-10", "-1"):
        assert main([*map(str, evaluation), default]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0].splitlines()[0] == outputs[1].splitlines()[0]
    assert outputs[0] != outputs[1]


def test_answers_to_other_queries_are_not_scored(evaluation, capsys):
    result, truth = evaluation
    write_stdlist(result / "benchmark.stdlist.xml", {"z": [("1", 3, True)]})
    assert main([str(result), str(truth), "-10"]) == 2
    assert "no query in it, such as z, is one of" in capsys.readouterr().err


def test_what_is_missing_is_named(evaluation, tmp_path, capsys):
    result, truth = evaluation
    assert main([str(truth), str(result)]) == 2
    assert "has no file *.stdlist.xml" in capsys.readouterr().err
    assert main([str(result), str(tmp_path / "nowhere")]) == 2
    assert "there is no folder" in capsys.readouterr().err
    (truth / "x.rttm").unlink()
    assert main([str(result), str(truth)]) == 2
    assert "has no file *.rttm" in capsys.readouterr().err
