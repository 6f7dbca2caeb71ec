"""Recordings for the listening test on digits, by what a classifier says of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from downstream.audio_generation.mturk import prepare_sc09


@pytest.mark.parametrize("row", [np.full(10, np.nan), np.full(10, 0.5), np.eye(10)[0] - 1e-6 * np.eye(10)[1]])
def test_probabilities_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture, row: np.ndarray):
    table, source = np.eye(10), tmp_path / "samples" / "10-mine"
    source.mkdir(parents=True)
    for number in range(10):
        (source / f"{number}.wav").touch()
    places = {"cache_dir": tmp_path, "sample_dir": source.parent, "target_dir": tmp_path / "chosen"}
    words = [word for name, place in places.items() for word in (f"--{name}", str(place))]
    words += ["--methods", "mine", "--n_samples", "10", "--samples_per_class", "1"]
    np.save(path := tmp_path / "10-mine-resnext-probs.npy", np.concatenate([table[:9], row[None]]))
    assert prepare_sc09.main(words) == 2
    assert f"{path}: class probabilities must be from 0 to 1" in capsys.readouterr().err
    assert not (tmp_path / "chosen").exists()
    np.save(path, table)
    assert prepare_sc09.main(words) == 0
