"""Files of turns, turns out of probabilities, and the choice of how."""

from __future__ import annotations

import json

import numpy as np
import pytest

from utility.errors import DataError, MissingDependencyError
from utility.metrics import diarization_tuning
from utility.metrics.diarization_tuning import Setting, best, grid, read_predictions, scored_grid, turns, write_prediction
from utility.metrics.rttm import active, read_rttm, read_uem, rttm_lines, smoothed


def test_recorded_turns(golden):
    """S3PRL's make_rttm.py, line for line."""
    folder = golden("tasks/der/make_rttm")
    arrays = dict(np.load(folder / "inputs.npz"))
    for threshold, median, shift in json.loads((folder / "params.json").read_text())["settings"]:
        found = turns(dict(sorted(arrays.items())), Setting(threshold, median), shift / 16000)
        written = "".join(line for name, speakers in found.items() for line in rttm_lines(name, speakers))
        assert written == (folder / f"outputs_files/hyp_{threshold}_{median}_{shift}.rttm").read_text()


def test_recorded_median_filter(golden):
    folder = golden("tasks/der/median_filter")
    values, expected = np.load(folder / "inputs.npz")["x"], np.load(folder / "outputs.npz")
    for median in (3, 5, 11):
        assert np.array_equal(smoothed(values, median), expected[f"med{median}"])


def test_a_probability_must_exceed_the_threshold():
    assert active(np.array([[0.5, 0.6], [0.4, 0.5]]), 0.5).tolist() == [[False, True], [False, False]]


def test_an_rttm_is_read(tmp_path):
    path = tmp_path / "x.rttm"
    lines = (";; a comment", "", "SPKR-INFO r 1 <NA> <NA> <NA> unknown a <NA>", "SPEAKER r 1 0.5 1.5 <NA> <NA> a <NA>")
    path.write_text("\n".join([*lines, "SPEAKER r 1 3 1 <NA> <NA> a <NA> <NA>", ""]))
    assert {who: found.tolist() for who, found in read_rttm(path)["r"].items()} == {"a": [[0.5, 2.0], [3.0, 4.0]]}
    path.write_bytes(f"\ufeff{lines[-1]}\r\n".encode())  # with a mark before the first line
    assert read_rttm(path)["r"]["a"].tolist() == [[0.5, 2.0]]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no speaker turn"),
        ("SPEAKER r 1 0.5\n", "line 1 of .*x.rttm has 4 fields, not the 9 or 10 of RTTM"),
        ("SPEAKER r 1 a 1 <NA> <NA> s <NA>\n", "line 1 of .* has 'a 1' where two numbers"),
        ("SPEAKER r 1 1 -1 <NA> <NA> s <NA>\n", "start or duration below 0"),
        ("SPEAKER r 1 nan 1 <NA> <NA> s <NA>\n", "not finite"),
    ],
)
def test_a_wrong_rttm(tmp_path, text: str, says: str):
    (tmp_path / "x.rttm").write_text(text)
    with pytest.raises(DataError, match=says):
        read_rttm(tmp_path / "x.rttm")


def test_no_rttm_and_none_that_is_text(tmp_path):
    with pytest.raises(DataError, match="there is no RTTM file"):
        read_rttm(tmp_path / "x.rttm")
    (tmp_path / "x.rttm").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="is no UTF-8 text: line 1"):
        read_rttm(tmp_path / "x.rttm")


def test_a_uem_is_read_or_refused(tmp_path, shared):
    path = tmp_path / "x.uem"
    path.write_text("r 1 0 2\n; a comment\nr 1 3 4\n")
    assert read_uem(path)["r"].tolist() == [[0, 2], [3, 4]]
    assert list(read_uem(shared / "data/rttm_pairs/dscore_test_load.uem")) == ["FILE1", "FILE2"]
    for text, says in (("", "names no recording"), ("r 1 2\n", "has 3 fields"), ("r 1 4 3\n", "does not end after its start")):
        path.write_text(text)
        with pytest.raises(DataError, match=says):
            read_uem(path)


def test_the_best_setting_is_found():
    """Probabilities of 0.65 inside the turn, of 0.45 around it, and a frame's flicker far from it."""
    values = np.full((100, 1), 0.1)
    values[20:50], values[15:20], values[70] = 0.65, 0.45, 0.9
    scores = scored_grid({"r": values}, {"r": {"a": np.array([[0.2, 0.5]])}}, 0.01)
    assert len(scores) == len(grid()) == 10
    assert best(scores) == Setting(0.5, 11)
    assert scores[Setting(0.5, 11)].der == 0
    assert scores[Setting(0.5, 1)].der == pytest.approx(1 / 30)
    assert scores[Setting(0.7, 11)].der == 1


def test_predictions_are_written_and_read(tmp_path, monkeypatch):
    values = np.random.default_rng(0).random((9, 2), np.float32)
    write_prediction(tmp_path, "r", values)
    assert np.array_equal(read_predictions(tmp_path)["r"], values)
    (tmp_path / "r.npy").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"r\.npy cannot be read"):
        read_predictions(tmp_path)
    np.save(tmp_path / "r.npy", np.zeros(3))
    with pytest.raises(DataError, match=r"has the shape \(3,\)"):
        read_predictions(tmp_path)
    with pytest.raises(DataError, match="there are no predictions"):
        read_predictions(tmp_path / "none")
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(MissingDependencyError, match="pip install h5py"):
        write_prediction(tmp_path, "r", values, "h5")


def test_predictions_of_s3prl(tmp_path):
    pytest.importorskip("h5py")
    values = np.random.default_rng(0).random((9, 2), np.float32)
    write_prediction(tmp_path, "r", values, "h5")
    assert np.array_equal(read_predictions(tmp_path)["r"], values)
    assert diarization_tuning.HDF5_NAME == "T_hat"
