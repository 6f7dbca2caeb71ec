"""Reading NMSQA and SQA-5; what is missing or wrong in them."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from downstream.spoken_qa import nmsqa, slue
from downstream.spoken_qa.corpus import Question, usable_spans
from downstream.spoken_qa.dataset import SpokenQADataset, grouped
from preprocess.synthesis.corpora import synthesize
from tests.downstream.spoken_qa.layouts import NMSQA_COLUMNS, SLUE_COLUMNS, SPANS, lay_out_nmsqa, lay_out_slue, put, table
from utility.errors import DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return lay_out_nmsqa(tmp_path / "NMSQA")


def names(questions: list[Question]) -> list[str]:
    return [question.name for question in questions]


def test_nmsqa_joins_segments_and_annotations(root: Path):
    questions = nmsqa.questions(root, "train")
    assert names(questions) == ["h0", "h1"]
    assert [Path(path).stem for path in questions[0].passage] == ["context-0_0_0", "context-0_0_1"]
    assert [Path(question.audio).stem for question in questions] == ["question-0_0_0", "question-0_0_1"]
    assert questions[1].spans == ((1.5, 2.5), (1.5, 2.0))
    (item,) = SpokenQADataset(grouped(questions, 8))
    assert len(item.passage) == 3 * 16000
    assert item.passage[:16000].mean() == pytest.approx(0.1, abs=1e-2) and item.passage[16000:].mean() == pytest.approx(0.2, abs=1e-2)
    assert [len(question) for question in item.questions] == [8000, 11200]


def test_nmsqa_segments_come_in_the_order_of_the_map(root: Path):
    (root / "train/train_segment_id.json").write_text(json.dumps({"0_0": ["1", "0"]}))
    assert [Path(path).stem for path in nmsqa.questions(root, "train")[0].passage] == ["context-0_0_1", "context-0_0_0"]


def test_nmsqa_test_is_both_sets(root: Path):
    assert names(nmsqa.questions(root, "test")) == ["SQuAD", "OOD"]
    assert names(nmsqa.questions(root, "test-OOD")) == ["OOD"]
    (question,) = nmsqa.questions(root, "test-SQuAD")
    assert (Path(question.audio).stem, [Path(path).stem for path in question.passage]) == ("SQuAD-q", ["SQuAD-c"])
    (root / "test/test-OOD/test-OOD-answer-span.csv").unlink()
    assert names(nmsqa.questions(root, "test")) == ["SQuAD"]


def test_nmsqa_other_names_and_places_of_the_release(root: Path):
    folder = root / "dev"
    (folder / "dev-hash2question.json").rename(root / "dev_hash2question.json")
    (folder / "dev_segment_id.json").rename(folder / "dev-segment_id.json")
    (folder / "dev-answer-span.csv").rename(root / "dev-answer-span.csv")
    (folder / "dev_audios").rename(folder / "dev_audio")
    assert names(nmsqa.questions(root, "dev")) == ["h0", "h1"]


def test_durations_missing_in_the_table_are_read_from_the_recordings(root: Path):
    table(root / "train/meta-train.csv", ("id", "duration"), [("context-0_0_0", 1.0)])
    assert names(nmsqa.questions(root, "train")) == ["h0", "h1"]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([("h0", "0_0", 0.0, 0.0)], "1 whose answer has no length (such as h0)"),
        ([("h0", "0_0", 2.0, 1.0)], "1 whose answer has no length"),
        ([("h0", "0_0", 2.5, 4.0)], "1 whose answer lies outside the passage"),
        ([("h0", "0_0", 3.1, 3.2)], "1 whose answer lies outside the passage"),
        ([("h0", "7_7", 0.1, 0.2)], "1 without recording (such as the passage of h0)"),
        ([("h9", "0_0", 0.1, 0.2)], "1 without recording (such as h9)"),
    ],
)
def test_unusable_questions_are_counted(root: Path, caplog, rows, reason):
    path = root / "train/train-answer-span.csv"
    table(path, NMSQA_COLUMNS, rows)
    with pytest.raises(DataError) as error:
        nmsqa.questions(root, "train")
    assert f"none of 1 questions can be used: {reason}" in str(error.value)
    table(path, NMSQA_COLUMNS, [("h1", "0_0", 1.5, 2.5), *rows])
    with caplog.at_level(logging.WARNING):
        assert names(nmsqa.questions(root, "train")) == ["h1"]
    assert "1 of 2 questions are left out" in caplog.text and reason in caplog.text


def test_a_usable_annotation_saves_a_question_and_ends_are_cut():
    assert usable_spans([(0, 0), (1, 2.2)], 2.0) == (((1, 2.0),), "whose answer has no length")
    assert usable_spans([(float("nan"), 1.0)], 2.0)[0] == ()
    assert usable_spans([], 2.0) == ((), "without annotation")


def test_missing_recording_is_counted(root: Path):
    (root / "train/train_audios/context-0_0_1.wav").unlink()
    with pytest.raises(DataError, match=r"2 without recording \(such as context-0_0_1\)"):
        nmsqa.questions(root, "train")


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("train/train-answer-span.csv", "hash,context_id,new_strat,new_end\n", "no column 'new_start'; did you mean 'new_strat'"),
        ("train/meta-train.csv", "id,seconds\n", "no column 'duration'"),
        ("train/train-answer-span.csv", "hash,context_id,new_start,new_end\nh0,0_0,early,2\n", "new_start is 'early', which is no number"),
        ("train/train-answer-span.csv", "hash,context_id,new_start,new_end\n", "none of 0 questions can be used"),
        ("train/train-hash2question.json", "{", "train-hash2question.json is no JSON"),
        ("train/train_segment_id.json", "[]", "must hold one JSON object, not a list"),
    ],
)
def test_damaged_tables_are_named(root: Path, file: str, content: str, sentence: str):
    (root / file).write_text(content)
    with pytest.raises(DataError) as error:
        nmsqa.questions(root, "train")
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    "file", ["train-answer-span.csv", "meta-train.csv", "train-hash2question.json", "train_segment_id.json", "train_audios"]
)
def test_missing_files_are_named(root: Path, file: str):
    (root / "train" / file).rename(root / "elsewhere")
    with pytest.raises(DataError, match="is missing: there is neither"):
        nmsqa.questions(root, "train")


def test_slue_splits(tmp_path: Path):
    root = lay_out_slue(tmp_path)
    for split, prefix in (("train", "train"), ("dev", "validation"), ("test", "test"), ("verified_test", "verified_test")):
        questions = slue.questions(root, split)
        assert names(questions) == [f"{prefix}-q0", f"{prefix}-q1"]
        assert questions[0].spans == ((0.5, 1.0), (0.6, 1.2))
    assert len(grouped(slue.questions(root, "dev"), 8)) == 1 and len(grouped(slue.questions(root, "dev"), 1)) == 2


@pytest.mark.parametrize(
    "given",
    [
        SPANS,
        json.dumps(SPANS),
        [{"answer": "a", "start_second": 0.5, "end_second": 1.0}, {"answer": "b", "start_second": "0.6", "end_second": 1.2}],
        json.dumps([["a", 0.5, 1.0], ["b", 0.6, 1.2]]),
    ],
)
def test_answer_spans_in_all_published_forms(given):
    assert slue.answer_spans(given, "here") == [(0.5, 1.0), (0.6, 1.2)]


@pytest.mark.parametrize("given", ["", "5", "{}", "[[1, 2]]", None, {"start_second": [1], "end_second": []}])
def test_other_answer_spans_are_one_sentence(given):
    with pytest.raises(DataError, match=r"here: answer_spans .* have no answer, start_second and end_second"):
        slue.answer_spans(given, "here")


def test_slue_as_it_is_released(tmp_path: Path):
    """The training split is called fine-tune, and quotation marks in questions enclose nothing."""
    root = lay_out_slue(tmp_path)
    (root / "train").rename(root / "fine-tune")
    (root / "slue-sqa5_train.tsv").unlink()
    rows = [("question_id", "raw_question_text", "document_id", "answer_spans")]
    rows += [(f"train-{name}", text, "train-d", '[["a", 0.5, 1.0]]') for name, text in (("q0", '"who said so'), ("q1", 'who said "no"'))]
    (root / "slue-sqa5_fine-tune.tsv").write_text("".join("\t".join(row) + "\n" for row in rows))
    questions = slue.questions(root, "train")
    assert names(questions) == ["train-q0", "train-q1"]
    assert [question.spans for question in questions] == [((0.5, 1.0),)] * 2


def test_slue_as_json_lines(tmp_path: Path):
    root = lay_out_slue(tmp_path)
    (root / "slue-sqa5_train.tsv").unlink()
    path = root / "train.jsonl"
    path.write_text(json.dumps({"question_id": "train-q0", "document_id": "train-d", "answer_spans": SPANS}) + "\n")
    assert names(slue.questions(root, "train")) == ["train-q0"]
    path.write_text("{}\n")
    with pytest.raises(DataError, match=r"train.jsonl, line 1 has no field 'question_id'"):
        slue.questions(root, "train")
    path.unlink()
    with pytest.raises(DataError, match=r"train\.tsv is missing"):
        slue.questions(root, "train")


def test_slue_missing_column_and_recordings(tmp_path: Path):
    root = lay_out_slue(tmp_path)
    table(root / "slue-sqa5_test.tsv", ("question_id", "document", "answer_spans"), [], "\t")
    with pytest.raises(DataError, match="no column 'document_id'; did you mean 'document'"):
        slue.questions(root, "test")
    rows = [("nobody", "train-d", "[]"), ("train-q0", "nothing", "[]"), ("train-q0", "train-d", '[["a", 1.9, 9]]')]
    table(root / "slue-sqa5_train.tsv", SLUE_COLUMNS, rows, "\t")
    with pytest.raises(DataError, match=r"none of 3 .*: 2 without recording \(such as nobody\); 1 whose answer lies outside the passage"):
        slue.questions(root, "train")


def test_both_layouts_of_the_synthetic_corpus_give_the_same(tmp_path: Path):
    pytest.importorskip("espeakng_loader")
    synthesize("slue_sqa5", synthesize("spoken_qa", tmp_path, size=1), size=1)
    first, second = nmsqa.questions(tmp_path / "NMSQA", "train"), slue.questions(tmp_path / "slue-sqa5", "train")
    assert [(q.name, q.spans) for q in first] == [(q.name, q.spans) for q in second]
    items = [SpokenQADataset(grouped(questions, 8))[0] for questions in (first, second)]
    assert len(items[0].questions) == len(first) > 2
    assert items[0].passage.equal(items[1].passage)
    assert all(a.equal(b) for a, b in zip(items[0].questions, items[1].questions, strict=True))


def test_corrupt_and_empty_recordings_are_named(root: Path):
    dataset = SpokenQADataset(grouped(nmsqa.questions(root, "train"), 8))
    (root / "train/train_audios/context-0_0_1.wav").write_bytes(b"RIFF nonsense")
    with pytest.raises(DataError, match=r"context-0_0_1\.wav"):
        dataset[0]
    put(root / "train/train_audios/context-0_0_1.wav", 2.0)
    (root / "train/train_audios/question-0_0_1.wav").write_bytes(b"")
    with pytest.raises(DataError, match=r"question-0_0_1\.wav is empty"):
        dataset[0]


def test_wav_comes_before_mp3(root: Path):
    (root / "train/train_audios/context-0_0_1.mp3").write_bytes(b"")
    assert nmsqa.questions(root, "train")[0].passage[1].endswith(".wav")
