"""Answers of a search and their scores."""

from __future__ import annotations

from pathlib import Path

import pytest

from downstream.blocks.detection import publish, score_answers
from utility.metrics.detection_files import read_stdlist

ANSWERS = {
    "q1": [("d1", 2.0, True), ("d2", -1.0, False), ("d3", 0.00004, False)],
    "q2": [("d1", 0.5, False), ("d2", 1.5, True), ("d3", 3.0, True)],
}


@pytest.fixture
def truth(tmp_path) -> Path:
    """q1 is in d1, q2 in d2, and q3, which nobody looked for, in d4, where nobody looked."""
    folder = tmp_path / "truth"
    folder.mkdir()
    (folder / "x.ecf.xml").write_text("<ecf>" + "".join(f'<excerpt audio_filename="d{n}.wav"/>' for n in (1, 2, 3, 4)) + "</ecf>")
    (folder / "x.tlist.xml").write_text("<termlist>" + "".join(f'<term termid="q{n}"/>' for n in (1, 2, 3)) + "</termlist>")
    (folder / "x.rttm").write_text("".join(f"LEXEME d{d} 1 0 1 q{q}\n" for q, d in ((1, 1), (2, 2), (3, 4))))
    return folder


def test_answers_are_published_twice(tmp_path):
    path = publish(ANSWERS, tmp_path / "results/test", tmp_path)
    assert path == tmp_path / "results/test/benchmark.stdlist.xml"
    assert (tmp_path / "benchmark.stdlist.xml").read_bytes() == path.read_bytes()
    found = read_stdlist(path)
    assert found["q1", "d3"].score == 0.0 and found["q2", "d3"].decision
    assert publish(ANSWERS, tmp_path, tmp_path) == tmp_path / "benchmark.stdlist.xml"


def test_all_and_some_are_scored(truth, capsys):
    """By hand: of three queries two are found at threshold 2 (q1 right, q2 not), a false alarm costs 12.49 / 3 of a query."""
    scores = {name: score.value for name, score in score_answers(ANSWERS, truth, {"searched": None, "two": {"d1", "d2"}}).items()}
    assert scores["actTWV"] == pytest.approx((2 - 12.4875 / 3) / 3, abs=1e-3)
    assert scores["actTWV_searched"] == pytest.approx((2 - 12.4875 / 2) / 2, abs=1e-3)
    assert scores["actTWV_two"] == 1 and scores["maxTWV_two"] == 1
    assert len(scores) == 12 and f"actTWV: {scores['actTWV']:.8f}" in capsys.readouterr().out


def test_of_a_part_alone_its_own_lines_are_printed(truth, capsys):
    scores = score_answers(ANSWERS, truth, official=False)
    assert set(scores) == {"maxTWV_searched", "actTWV_searched", "minCnxe_searched", "actCnxe_searched"}
    assert f"actTWV: {scores['actTWV_searched'].value:.8f}" in capsys.readouterr().out


def test_what_cannot_be_scored_is_left_out(truth, tmp_path, caplog):
    assert score_answers(ANSWERS, tmp_path / "nowhere") == {}
    assert "there is no ground truth in" in caplog.text
    scores = score_answers(ANSWERS, truth, {"none": {"d3"}})
    assert "maxTWV" in scores and "maxTWV_none" not in scores
    assert "a part of the answers is not scored: no query" in caplog.text


def test_a_part_that_is_all_is_left_out(truth):
    answers = {f"q{q}": [(f"d{d}", float(q == d), q == d) for d in (1, 2, 3, 4)] for q in (1, 2, 3)}
    assert set(score_answers(answers, truth)) == {"maxTWV", "actTWV", "minCnxe", "actCnxe"}
