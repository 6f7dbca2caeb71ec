"""Datastores, regressions and places for results that are not what they should be: one sentence each, before the work is done."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from downstream.mos_prediction import ensemble
from downstream.mos_prediction.datastore import read_datastore, write_datastore
from downstream.mos_prediction.neighbours import Datastore
from utility.errors import CheckpointError, DataError

NAMES, VECTORS, SCORES = np.array(["a", "b"]), np.ones((2, 3), np.float32), np.array([1.0, 2.0])
BROKEN = {
    "rows": (NAMES, np.ones((3, 3)), SCORES, "2 names have vectors of the shape"),
    "one axis": (NAMES, np.ones(2), SCORES, "2 names have vectors of the shape"),
    "numbers for names": (np.array([1, 2]), VECTORS, SCORES, "is no datastore"),
    "scores": (NAMES, VECTORS, np.ones(3), "scores of the shape"),
    "texts": (NAMES, VECTORS, np.array(["x", "y"]), "is no datastore, or damaged"),
    "nan": (NAMES, np.array([[1, 2, 3], [1, np.nan, 3]]), SCORES, "not finite, of b"),
    "endless score": (NAMES, VECTORS, np.array([np.inf, 1]), "not finite, of a"),
}


@pytest.mark.parametrize(("names", "vectors", "scores", "sentence"), BROKEN.values(), ids=BROKEN)
def test_a_datastore_of_other_shapes_or_numbers(names, vectors, scores, sentence, tmp_path):
    np.savez(tmp_path / "s.npz", names=names, embeddings=vectors, scores=scores)
    with pytest.raises(DataError, match=sentence):
        read_datastore(tmp_path / "s.npz")


def test_a_damaged_datastore(tmp_path):
    path = tmp_path / "s.npz"
    write_datastore(path, Datastore(["a", "b"], VECTORS, SCORES))
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[whole.index(b"NUMPY", whole.index(b"embeddings")) + 130] ^= 255
    for content in (whole[: len(whole) // 2], bytes(flipped), b""):
        path.write_bytes(content)
        with pytest.raises(DataError, match="is no datastore, or damaged"):
            read_datastore(path)


def test_a_damaged_datastore_in_hdf5(tmp_path):
    h5py = pytest.importorskip("h5py")
    contents = [
        {"embeds/a/b": np.ones(3), "scores/a/b": 3.0},
        {"embeds/a": np.ones(3), "embeds/b": np.ones(4), "scores/a": 1.0, "scores/b": 1.0},
        {"embeds/a": np.ones(3), "scores/a": "x"},
        {"embeds/a": np.ones(3), "scores/z": 1.0},
        {"embeds": np.ones(3), "scores": np.ones(3)},
    ]
    for number, content in enumerate(contents):
        with h5py.File(tmp_path / f"{number}.h5", "w") as file:
            for name, value in content.items():
                file[name] = value
        with pytest.raises(DataError, match="is no datastore, or damaged"):
            read_datastore(tmp_path / f"{number}.h5")
    with h5py.File(tmp_path / "empty.h5", "w") as file:
        file.create_group("embeds"), file.create_group("scores")
    with pytest.raises(DataError, match="is empty"):
        read_datastore(tmp_path / "empty.h5")


def test_two_utterances_of_one_name_make_no_datastore(tmp_path):
    with pytest.raises(DataError, match="two utterances have the name a_b_c"):
        write_datastore(tmp_path / "s.npz", Datastore(["a_b_c", "a_b_c"], VECTORS, SCORES))
    assert not list(tmp_path.iterdir())


REGRESSIONS = {
    "no torch file": (b"x", "is no regression"),
    "empty": (b"", "is no regression"),
    "shapes": ({"members": ["checkpoint-2steps.pkl"], "coefficients": torch.ones(3), "intercept": 0.0}, "coefficients of the shape"),
    "elsewhere": ({"members": ["../checkpoint-2steps.pkl"], "coefficients": torch.ones(1), "intercept": 0.0}, "is no name of a checkpoint"),
    "another": ({"members": ["passwd"], "coefficients": torch.ones(1), "intercept": 0.0}, "is no name of a checkpoint"),
}


@pytest.mark.parametrize(("content", "sentence"), REGRESSIONS.values(), ids=REGRESSIONS)
def test_a_broken_regression(content, sentence, tmp_path):
    path = tmp_path / "meta_model.pkl"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(CheckpointError, match=sentence) as caught:
        ensemble.read_stack(path)
    assert "\n" not in str(caught.value)


def test_numbers_of_one_set_do_not_replace_those_of_another(trained, server, tmp_path):
    run = trained["run"]
    inference = "config.downstream_expert.inference"
    for name in ("first", "second"):
        words = f"{inference}.csv={trained['dev']},,{inference}.outdir={tmp_path / name}"
        process = server.run(["-m", "evaluate", "-t", "inference", "-e", str(run), "-o", words, "--device", "cpu"], tmp_path)
        assert process.status == 0, process.err
    assert {path.name for path in run.glob("results/*/inference*.json")} >= {"inference-first.json", "inference-second.json"}


@pytest.mark.parametrize(
    ("work", "field", "sentence"),
    [
        ("inference", "inference.outdir={file}/below", "cannot be a folder"),
        ("datastore", "datastore.out={folder}", "is a folder, not a file to write"),
    ],
)
def test_a_place_that_cannot_be_written_is_said_before_the_work(work, field, sentence, trained, server, tmp_path):
    (tmp_path / "file").touch()
    words = f"config.downstream_expert.inference.csv={trained['dev']},,config.downstream_expert."
    words += field.format(file=tmp_path / "file", folder=tmp_path)
    process = server.run(["-m", "evaluate", "-t", work, "-e", str(trained["run"]), "-o", words, "--device", "cpu"], tmp_path)
    assert process.status == 2
    assert sentence in process.err.splitlines()[-1]
    assert "file/s]" not in process.err
