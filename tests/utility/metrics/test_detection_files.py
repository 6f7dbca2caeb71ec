"""Lists and answers of spoken term detection: read as written, and faults named."""

from __future__ import annotations

import pytest

from utility.errors import DataError
from utility.metrics.detection import Detection
from utility.metrics.detection_files import (
    only_file,
    read_ecf,
    read_ground_truth,
    read_rttm,
    read_stdlist,
    read_tlist,
    write_stdlist,
)

ANSWER = '<stdlist><detected_termlist termid="q"><term file="d" {}/></detected_termlist></stdlist>'


def test_answers_are_read_as_written(tmp_path):
    path = tmp_path / "new" / "benchmark.stdlist.xml"
    write_stdlist(path, {"q&1": [("d1", 2.34567, True), ("d2", -0.5, False)], "q2": []})
    assert read_stdlist(path) == {("q&1", "d1"): Detection(2.3457, True), ("q&1", "d2"): Detection(-0.5, False)}
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_recorded_answers_are_read_and_written_alike(golden, tmp_path):
    recorded = golden("tasks/qbe/expert_cosine") / "outputs_files" / "benchmark.stdlist.xml"
    found = read_stdlist(recorded)
    answers: dict[str, list] = {}
    for (query, document), detection in found.items():
        answers.setdefault(query, []).append((document, detection.score, detection.decision))
    write_stdlist(tmp_path / "benchmark.stdlist.xml", answers)
    assert (tmp_path / "benchmark.stdlist.xml").read_text().strip() == recorded.read_text().strip()


def test_of_two_answers_to_one_trial_the_better_stands(tmp_path):
    path = tmp_path / "a.stdlist.xml"
    write_stdlist(path, {"q": [("d", 0.5, True), ("d", 1.5, False)]})
    assert read_stdlist(path) == {("q", "d"): Detection(1.5, True)}


def test_a_ground_truth_is_read(tmp_path):
    (tmp_path / "x.tlist.xml").write_text(
        '<?xml version="1.0"?><termlist ecf_filename="x"><term termid="q1"><termtext>q1</termtext></term><term termid="q2"/></termlist>'
    )
    (tmp_path / "x.ecf.xml").write_text(
        '<ecf><excerpt audio_filename="a/d1.wav" channel="1" tbeg="0" dur="2"/>'
        '<excerpt audio_filename="d1"/><excerpt audio_filename="d2.wav"/></ecf>'
    )
    lines = [";; comment", "SPEAKER d1 1 0 2 x", "", "LEXEME d1 1 0.000 2.000 q1 lex <NA> <NA>", "LEXEME d1 1 1.000 1.000 q1 lex"]
    (tmp_path / "x.rttm").write_text("\n".join(lines))
    truth = read_ground_truth(tmp_path)
    assert (truth.queries, truth.documents, truth.targets) == (["q1", "q2"], ["d1", "d2"], {("q1", "d1")})
    (tmp_path / "x.rttm").write_text("\ufeff" + lines[3], encoding="utf-8")  # with a mark before the first line
    assert read_ground_truth(tmp_path).targets == {("q1", "d1")}


@pytest.mark.parametrize(
    ("read", "text", "says"),
    [
        (read_tlist, "<termlist></termlist>", "has no <term>"),
        (read_tlist, "<termlist><term/></termlist>", "a <term> has no termid"),
        (read_tlist, "<termlist><term termid='a'>", "is no proper XML"),
        (read_ecf, "<ecf/>", "has no <excerpt>"),
        (read_rttm, "LEXEME d1 1 0.0", "line 1 of .* has 4 fields"),
        (read_stdlist, ANSWER.format('score="nan" decision="NO"'), "'nan' is no finite"),
        (read_stdlist, ANSWER.format('score="1"'), "a <term> has no decision"),
    ],
)
def test_faults_are_named(tmp_path, read, text, says):
    path = tmp_path / "file"
    path.write_text(text)
    with pytest.raises(DataError, match=says):
        read(path)


def test_missing_and_ambiguous_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"RTTM file .*nowhere does not exist"):
        read_rttm(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"cannot read .*nowhere"):
        read_stdlist(tmp_path / "nowhere")
    with pytest.raises(DataError, match="there is no folder"):
        read_ground_truth(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"has no file \*\.rttm"):
        only_file(tmp_path, ".rttm")
    for name in ("a.rttm", "b.rttm"):
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=r"has 2 files .*: a.rttm, b.rttm"):
        only_file(tmp_path, ".rttm")
