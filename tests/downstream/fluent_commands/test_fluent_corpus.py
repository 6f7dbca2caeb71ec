"""The tables of Fluent Speech Commands: recorded numbers of values, and what can be wrong with them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from downstream.fluent_commands.corpus import numbered, read_table, recordings_of, table_of, vocabularies_of
from tests.downstream.fluent_commands.layouts import write_table, write_wavs
from utility.errors import DataError

ROWS = [("wavs/speakers/a/1.wav", "bring", "juice", "none"), ("wavs/speakers/a/2.wav", "activate", "lights", "kitchen")]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two recordings, in all three tables."""
    for name in ("train", "valid", "test"):
        write_table(tmp_path, name, ROWS)
    write_wavs(tmp_path, [row[0] for row in ROWS])
    return tmp_path


def test_recorded_numbers(golden, tmp_path: Path):
    folder = golden("tasks/labels/ic_vocabulary")
    shutil.copytree(folder / "files", tmp_path / "data")
    expected = json.loads((folder / "outputs.json").read_text())
    vocabularies = vocabularies_of(read_table(tmp_path, "train"))
    assert [len(values) for values in vocabularies.values()] == expected["values_per_slot"]
    assert sum(map(len, vocabularies.values())) == expected["output_dim"]
    assert {slot: {v: n for n, v in enumerate(values)} for slot, values in vocabularies.items()} == expected["id_of_value"]
    for split, key in (("train", "train"), ("dev", "valid"), ("test", "test")):
        rows = read_table(tmp_path, split)
        known = [item for item in expected[key] if "error" not in item["label"]]
        labels = numbered(rows[: len(known)], table_of(tmp_path, split), vocabularies)
        assert [{"path": row.path, "label": list(label)} for row, label in zip(rows, labels, strict=False)] == known
    with pytest.raises(DataError, match=r"valid_data\.csv, line 6: the action 'teleport' does not occur in training; .*activate"):
        numbered(read_table(tmp_path, "dev"), table_of(tmp_path, "dev"), vocabularies)


def test_items(root: Path):
    vocabularies = vocabularies_of(read_table(root, "train"))
    first, second = recordings_of(root, "test", vocabularies)
    assert (first.path, first.label, first.name) == (str(root / "wavs/speakers/a/1.wav"), (0, 0, 0), "1")
    assert (second.label, second.name) == ((1, 1, 1), "2")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (
            lambda root: (root / "data/test_data.csv").unlink(),
            r"file_path: table .*test_data\.csv does not exist; .*Fluent",
        ),
        (
            lambda root: (root / "data/test_data.csv").write_text(",path,action,objekt,location\n"),
            "no column 'object'; did you mean",
        ),
        (lambda root: (root / "data/test_data.csv").write_text(",path,action,object,location\n"), "has no line beneath its header"),
        (lambda root: write_table(root, "test", [*ROWS, ("x.wav", "bring", "", "none")]), r"test_data\.csv, line 4 has no object"),
        (lambda root: write_table(root, "test", [("x.wav", "bring", "juise", "none")]), "'juise' does not occur.*did you mean 'juice'"),
        (lambda root: (root / ROWS[1][0]).unlink(), "names 2 recordings, 1 of which are not below .*, such as wavs/speakers/a/2.wav"),
        (lambda root: shutil.rmtree(root / "wavs"), "names 2 recordings, 2 of which are not below"),
        (lambda root: (root / "data/test_data.csv").write_bytes(b"\xff\xfe"), "is no UTF-8 text"),
    ],
)
def test_wrong_corpora(root: Path, damage, sentence: str):
    vocabularies = vocabularies_of(read_table(root, "train"))
    damage(root)
    with pytest.raises(DataError, match=sentence):
        recordings_of(root, "test", vocabularies)
