"""The lists of the folds: recorded splits, what can be wrong with them, and the program that makes them."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from downstream.emotion.corpus import CLASSES, classes_of, folds_in, list_of, read_list, recordings_of, split_indices
from preprocess.IEMOCAP_preprocess import main, write_folds
from tests.downstream.emotion.layouts import rewrite, with_lists, write_corpus, write_evaluation
from utility.errors import DataError, UnknownNameError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three sessions of eight recordings, with their lists."""
    return with_lists(write_corpus(tmp_path / "corpus", {"Session1": 8, "Session2": 8, "Session3": 8}))


def items(root: Path, split: str, fold: str = "fold1", valid_ratio: float = 0.2) -> list:
    return recordings_of(root, root / "meta_data", fold, split, valid_ratio, CLASSES)


def test_recorded_indices(golden):
    folder = golden("tasks/labels/er_split_indices")
    sizes = json.loads((folder / "params.json").read_text())["items"]
    state = torch.get_rng_state()
    for (entries, ratio), expected in zip(sizes, json.loads((folder / "outputs.json").read_text()), strict=True):
        found = split_indices(entries, ratio)
        assert len(found[0]) == expected["train_len"]
        for part, indices in zip(("train", "dev"), found, strict=True):
            assert indices[:30] == expected[f"{part}_first"]
            joined = " ".join(map(str, indices)).encode()
            assert hashlib.sha1(joined).hexdigest() == expected[f"sha1_of_{part}_indices_space_joined"]
    assert torch.equal(torch.get_rng_state(), state)


def test_recorded_fold(golden, tmp_path: Path):
    folder = golden("tasks/labels/er_fold")
    params, expected = (json.loads((folder / f"{name}.json").read_text()) for name in ("params", "outputs"))
    for part in ("train", "test"):
        target = tmp_path / f"meta_data/Session1/{part}_meta_data.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((folder / f"files/{part}_meta_data.json").read_bytes())
        for entry in json.loads(target.read_text())["meta_data"]:
            (tmp_path / entry["path"]).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / entry["path"]).touch()
    labels, entries = read_list(list_of(tmp_path / "meta_data", params["fold"], "train"))
    assert labels == expected["class_dict"]
    assert classes_of(labels) == list(CLASSES)
    assert split_indices(len(entries), params["valid_ratio"]) == (expected["train_indices"], expected["dev_indices"])
    for split in ("train", "dev", "test"):
        found = items(tmp_path, split, params["fold"], params["valid_ratio"])
        assert [[recording.name, recording.label] for recording in found] == expected[split]


def test_recorded_preprocessing(golden, tmp_path: Path, capsys: pytest.CaptureFixture):
    folder = golden("tasks/labels/er_iemocap_preprocess")
    for file in (folder / "files").rglob("*.*"):
        target = tmp_path / file.relative_to(folder / "files")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    for wav in json.loads((folder / "params.json").read_text())["wavs"]:
        (tmp_path / wav).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / wav).touch()
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'meta_data'}\n"
    for name, expected in json.loads((folder / "outputs.json").read_text()).items():
        session, part = name.split("/")
        found = json.loads((tmp_path / f"meta_data/{session}/{part}_meta_data.json").read_text())
        assert found["labels"] == expected["labels"]
        assert sorted(found["meta_data"], key=lambda e: e["path"]) == sorted(expected["meta_data"], key=lambda e: e["path"])


def test_folds_share_no_speaker(root: Path):
    assert folds_in(root / "meta_data") == ["fold1", "fold2", "fold3"]
    for fold in ("fold1", "fold2", "fold3"):
        splits = {split: {item.name for item in items(root, split, fold)} for split in ("train", "dev", "test")}
        assert [len(names) for names in splits.values()] == [12, 4, 8]
        assert len(set.union(*splits.values())) == 24
        assert {name[:5] for name in splits["test"]} == {f"Ses0{fold[-1]}"}


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda path, root: path.unlink(), r"list .*test_meta_data\.json does not exist; .*fetch_lists\.py --only emotion"),
        (lambda path, root: path.write_text("{"), r"test_meta_data\.json is no JSON"),
        (lambda path, root: path.write_text("[]"), "does not number its labels from 0 on"),
        (lambda path, root: rewrite(path, labels={"neu": 1}), "does not number its labels from 0 on"),
        (lambda path, root: rewrite(path, meta_data=[]), "has no entries in meta_data"),
        (lambda path, root: rewrite(path, meta_data=[{"label": "neu"}]), "entry 0 has no path"),
        (lambda path, root: rewrite(path, meta_data=[{"path": "x.wav", "label": "sat"}]), "the label 'sat'; did you mean 'sad'"),
        (
            lambda path, root: rewrite(path, labels={"neu": 0, "fea": 1}, meta_data=[{"path": "x.wav", "label": "fea"}]),
            "no training has the label 'fea'",
        ),
        (lambda path, root: next(root.rglob("*Session1*/**/*.wav")).unlink(), "names 8 recordings, 1 of which are not below"),
    ],
)
def test_wrong_lists(root: Path, damage, sentence: str):
    damage(root / "meta_data/Session1/test_meta_data.json", root)
    with pytest.raises(DataError, match=sentence):
        items(root, "test")


def test_missing_lists_and_folds(root: Path, tmp_path: Path):
    with pytest.raises(DataError, match=r"meta_data: .* has no Session1/train_meta_data\.json; .*IEMOCAP_preprocess\.py"):
        folds_in(tmp_path)
    with pytest.raises(UnknownNameError, match="unknown fold 'flod2'; did you mean 'fold2'"):
        items(root, "train", "flod2")


def test_too_few_entries_for_a_dev_split(tmp_path: Path):
    corpus = write_corpus(tmp_path, {"Session1": 1, "Session2": 1})
    entries = {f"Session{n}": [{"path": f"Session{n}/x.wav", "label": "neu", "speaker": "S"}] for n in (1, 2)}
    write_folds(entries, corpus / "meta_data")
    with pytest.raises(DataError, match="has 1 entries, too few for a split train"):
        items(corpus, "train")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda root: [path.unlink() for path in root.glob("Session2/dialog/EmoEvaluation/*")], "Session2 has no labels: there is no .*"),
        (
            lambda root: write_evaluation(root, "Session2", "Ses02F_impro01", [("Ses02F_impro01_F000", "fru")]),
            "Session2 has no labels of recordings that are there",
        ),
        (
            lambda root: (root / "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt").write_text("[0 - 1]\tx\n"),
            r"Ses01F_impro01\.txt, line 1 has no utterance and emotion",
        ),
    ],
)
def test_sessions_without_labels(tmp_path: Path, capsys: pytest.CaptureFixture, damage, sentence: str):
    root = write_corpus(tmp_path, {"Session1": 4, "Session2": 4})
    damage(root)
    assert main([str(root)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    with pytest.raises(DataError, match=sentence):
        raise DataError(said)


def test_a_corpus_with_one_session_or_none(tmp_path: Path, capsys: pytest.CaptureFixture):
    assert main([str(tmp_path / "nowhere")]) == 2
    assert main([str(write_corpus(tmp_path, {"Session1": 4}))]) == 2
    assert "nowhere does not exist" in (said := capsys.readouterr().err)
    assert "has 1 folders Session<number>" in said


def test_the_program_runs_from_the_root(repo: Path, tmp_path: Path):
    write_corpus(tmp_path, {"Session1": 4, "Session2": 4})
    words = [sys.executable, "preprocess/IEMOCAP_preprocess.py", str(tmp_path)]
    done = subprocess.run(words, cwd=repo, capture_output=True, text=True, check=True)
    assert done.stdout == f"{tmp_path / 'meta_data'}\n"
    assert "Session1: 4 utterances, 1 neu, 1 hap, 1 ang, 1 sad" in done.stderr
