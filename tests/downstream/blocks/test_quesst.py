"""The lists of QUESST 2014."""

from __future__ import annotations

from pathlib import Path

import pytest

from downstream.blocks.quesst import ground_truth_folder, recordings
from utility.errors import DataError

LISTS = {
    "utterances": "quesst14Database/Audio/d2.wav nnenglish\nquesst14Database/Audio/d1.wav czech\n\n",
    "dev": "quesst14Database/dev_queries/q1.wav\tnnenglish\n",
    "eval": "quesst14Database/eval_queries/q2.wav czech\nq3.wav nnenglish\n",
}


@pytest.fixture
def root(tmp_path) -> Path:
    """A corpus of two documents and three queries; the audio files are empty."""
    (tmp_path / "scoring").mkdir()
    for kind, text in LISTS.items():
        (tmp_path / f"scoring/language_key_{kind}.lst").write_text(text)
    for file in ("Audio/d1.wav", "Audio/d2.wav", "dev_queries/q1.wav", "eval_queries/q2.wav", "q3.wav"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    return tmp_path


def test_queries_of_a_part_come_before_the_documents(root):
    assert [(found.name, found.is_query) for found in recordings(root, "dev", "all")] == [("q1", True), ("d2", False), ("d1", False)]
    assert [found.name for found in recordings(root, "eval", "nnenglish")] == ["q3", "d2"]
    assert recordings(root, "eval", "czech")[0].path == str(root / "eval_queries/q2.wav")
    assert ground_truth_folder(root, "dev").name == "groundtruth_quesst14_dev"


def test_faults_are_named(root):
    with pytest.raises(DataError, match=r"nothing in the language 'english'; did you mean 'nnenglish'"):
        recordings(root, "dev", "english")
    (root / "q3.wav").unlink()
    with pytest.raises(DataError, match=r"1 of 2 listed audio files do not exist, the first is .*q3.wav"):
        recordings(root, "eval", "nnenglish")
    (root / "scoring/language_key_dev.lst").write_text("a b c\n")
    with pytest.raises(DataError, match=r"line 1 of .*language_key_dev.lst has 3 columns"):
        recordings(root, "dev", "nnenglish")
    (root / "scoring/language_key_dev.lst").unlink()
    with pytest.raises(DataError, match=r"dataset_root: list .*language_key_dev.lst does not exist; downstream/README.md"):
        recordings(root, "dev", "nnenglish")
    with pytest.raises(DataError, match=r"folder nowhere does not exist; downstream/README.md says where to get it"):
        recordings("nowhere", "dev", "nnenglish")
