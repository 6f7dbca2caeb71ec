"""Are spoken words found? In synthetic sentences of other voices, and in real recordings of other speakers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tests.downstream.quesst14_dtw.conftest import corpus
from tests.downstream.quesst14_dtw.layouts import timit, wake_words
from utility.metrics.detection import collect
from utility.metrics.detection_files import read_ground_truth, read_stdlist


def area(root: Path, folder: Path) -> float:
    """Area under the curve of hits over false alarms, over all trials of queries that were searched."""
    truth = read_ground_truth(root / "scoring/groundtruth_quesst14_eval")
    found = read_stdlist(folder / "benchmark.stdlist.xml")
    asked, searched = {query for query, _ in found}, {document for _, document in found}
    trials = collect(found, truth.targets, asked, [document for document in truth.documents if document in searched])
    return float(roc_auc_score(trials.targets.ravel(), trials.scores.ravel()))


def test_words_of_unseen_voices_in_few_recordings(search, tmp_path):
    """Measured: value 0.63, area 0.81."""
    root = corpus(tmp_path / "corpus", 6)
    scores = search(root, "mfcc")["scores"]
    found = area(root, tmp_path / "run")
    print(f"maxTWV {scores['maxTWV_searched']['value']:.3f}, area {found:.3f}")
    assert scores["maxTWV_searched"]["value"] > 0.3
    assert found > 0.7


def test_real_words_of_other_speakers(shared: Path, search, tmp_path):
    """Words cut out of sentences of three speakers, in those of seven others.

    Measured: area 0.74; the value is near 0, as SUPERB's of fbank is.
    """
    root = timit(shared / "data/timit_sample", tmp_path / "timit", speakers_asking=3, least_seconds=0.3)
    scores = search(root)["scores"]
    found = area(root, tmp_path / "run")
    print(f"maxTWV {scores['maxTWV']['value']:.3f}, area {found:.3f}")
    assert found > 0.65


def test_real_wake_words(shared: Path, search, tmp_path):
    """Measured: area 0.87, value 0.12."""
    root = wake_words(shared / "data/wake_words", tmp_path / "words", asked=4, searched=10)
    scores = search(root, "mfcc")["scores"]
    found = area(root, tmp_path / "run")
    print(f"maxTWV {scores['maxTWV']['value']:.3f}, area {found:.3f}")
    assert found > 0.75


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus that a newcomer writes."""
    return corpus(tmp_path_factory.mktemp("small"), "small", jobs=None)


# Measured on this corpus, seed 0, in this order.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("upstream", "dist_method", "least"),
    [
        ("fbank", "cosine_exp", 0.3),  # 0.384
        ("fbank", "cosine", 0.3),  # 0.391
        ("fbank", "euclidean", 0.1),  # 0.190
        ("mfcc", "cosine_exp", 0.3),  # 0.472
        ("mfcc", "cityblock", 0.02),  # 0.065; with fbank, where it takes long, 0.218
    ],
)
def test_words_of_unseen_voices(small, search, tmp_path, upstream, dist_method, least):
    scores = search(small, upstream, more=f",,config.downstream_expert.dtwrc.dist_method={dist_method}")["scores"]
    values = {name: score["value"] for name, score in scores.items()}
    print(f"{upstream} {dist_method}: {values}, area {area(small, tmp_path / 'run'):.3f}")
    assert values["maxTWV_searched"] > least
    assert values["maxTWV"] < values["maxTWV_searched"], "the other languages' queries count as missed"
    assert np.isfinite(list(values.values())).all()
