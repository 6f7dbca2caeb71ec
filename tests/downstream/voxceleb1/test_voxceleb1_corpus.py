"""The identification split, the search for recordings and what is kept of it; wrong lists and corpora."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from downstream.voxceleb1 import corpus
from downstream.voxceleb1.corpus import CACHE, places_of, read_list, speakers_of
from downstream.voxceleb1.expert import DownstreamExpert
from tests.downstream.voxceleb1.layouts import Layout, write_corpus
from utility.errors import DataError

PRESENT = ["dev/wav/id10001/v/00001.wav", "test/wav/id10001/v/00002.wav", "dev/wav/id10002/v/00001.wav", "dev/wav/id10002/w/00001.wav"]
LINES = ["1 id10001/v/00001.wav", "3 id10001/v/00002.wav", "1 id10002/v/00001.wav", "2 id10002/w/00001.wav"]


@pytest.fixture
def small(tmp_path: Path) -> Layout:
    return write_corpus(tmp_path, PRESENT, LINES)


def items(layout: Layout, split: str, speakers: list[str] | None = None) -> list:
    lines = read_list(layout.split_file)
    places = places_of(layout.root, layout.split_file, lines, layout.root.parent / "run")
    return places.recordings(lines, split, speakers or speakers_of(lines, layout.split_file), layout.split_file)


def test_recorded_split(golden, tmp_path: Path):
    folder = golden("tasks/labels/sid_lists")
    expected = json.loads((folder / "outputs.json").read_text())
    layout = write_corpus(tmp_path, json.loads((folder / "params.json").read_text())["present"], [], samples=2)
    layout.split_file.write_bytes((folder / "files/veri_test_class.txt").read_bytes())
    speakers = DownstreamExpert.published_vocabularies(None, expected["speaker_num"])["speaker"]
    assert len(speakers) == expected["speaker_num"]
    for split in ("train", "dev", "test"):
        found = [
            {
                "file": recording.path.split("/wav/")[-1],
                "label": recording.label,
                "speaker": speakers[recording.label],
                "name_in_prediction_file": recording.name,
            }
            for recording in items(layout, split, speakers)
        ]
        assert found == expected[split]
        assert all(Path(recording.path).is_file() for recording in items(layout, split, speakers))


def test_all_official_speakers_have_the_numbers_of_s3prl():
    lines = [corpus.Line(number, "train", f"id{10001 + number}/v/1.wav") for number in reversed(range(1251))]
    assert speakers_of(lines, "list") == DownstreamExpert.published_vocabularies(None, 1251)["speaker"]


def test_classes_are_the_speakers_of_the_corpus(small: Layout):
    assert speakers_of(read_list(small.split_file), small.split_file) == ["id10001", "id10002"]
    assert [(recording.label, recording.name) for recording in items(small, "train")] == [(0, "id10001-v-00001"), (1, "id10002-v-00001")]
    (test,) = items(small, "test")
    assert test.path == f"{small.root}/test/wav/id10001/v/00002.wav"


def test_every_folder_is_listed_once(small: Layout, monkeypatch: pytest.MonkeyPatch):
    """A search per line would take minutes for the 150,000 of the official list."""
    seen = []
    monkeypatch.setattr(corpus, "_entries", lambda folder, list_entries=corpus._entries: seen.append(folder) or list_entries(folder))
    items(small, "train")
    assert seen and len(seen) == len(set(seen))


def test_places_are_kept_in_the_experiment(small: Layout, monkeypatch: pytest.MonkeyPatch):
    first, kept = items(small, "train"), small.root.parent / "run" / CACHE
    assert [path.name for path in kept.parent.iterdir()] == [CACHE]
    with monkeypatch.context() as without_search:
        without_search.setattr(corpus.Places, "found", None)
        assert items(small, "train") == first
    kept.write_text("{")
    assert items(small, "train") == first
    kept.write_text(json.dumps([]))
    assert items(small, "train") == first


def test_places_follow_list_and_root(small: Layout, tmp_path: Path):
    items(small, "train")
    small.split_file.write_text("".join(f"{line}\n" for line in LINES[::-1]))
    assert [recording.name for recording in items(small, "train")] == ["id10002-v-00001", "id10001-v-00001"]
    other = small.root.rename(tmp_path / "elsewhere")
    assert items(Layout(other, small.split_file), "test")[0].path.startswith(str(other))


def test_kept_places_are_looked_for_anew_when_files_have_moved(small: Layout):
    (old,) = items(small, "test")
    (small.root / "test").rename(small.root / "all")
    (moved,) = items(small, "test")
    assert (Path(old.path).exists(), Path(moved.path).is_file()) == (False, True)
    (small.root / "dev/wav/id10002").rename(small.root / "all/wav/id10002")
    assert all(Path(recording.path).is_file() for split in ("train", "dev", "test") for recording in items(small, split))
    os.utime(Path(moved.path).parent, ns=(0, 0))  # as if some time had gone by
    Path(moved.path).unlink()
    with pytest.raises(DataError, match=r"names 1 of 1 recordings for test that are not in .*/\*/wav, such as id10001/v/00002\.wav"):
        items(small, "test")


def test_incomplete_searches_are_not_kept(small: Layout):
    (small.root / PRESENT[3]).rename(small.root.parent / "aside.wav")
    assert len(items(small, "train")) == 2
    with pytest.raises(DataError, match=r"names 1 of 1 recordings for dev that are not in .*/\*/wav, such as id10002/w/00001\.wav"):
        items(small, "dev")
    (small.root.parent / "aside.wav").rename(small.root / PRESENT[3])
    assert len(items(small, "dev")) == 1


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (["4 id1/v/1.wav"], r"line 1 is '4 id1/v/1\.wav' and should be '1\|2\|3 <speaker>/<video>/<file>'"),
        (["1 id1/1.wav"], "line 1 is"),
        (["1 ../../1.wav"], "line 1 is"),
        (["", "1"], "line 2 is '1'"),
        ([], "has no line"),
        (["3 id10001/v/00002.wav"], "has no line '1 <path>' to train on"),
        ([*LINES, "3 id10003/v/00001.wav"], "line 5: speaker id10003 of test is not among those of train; did you mean 'id100"),
        (LINES[:1], "has no line for test"),
    ],
)
def test_wrong_lists(small: Layout, lines: list[str], sentence: str):
    small.split_file.write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(DataError, match=sentence):
        items(small, "test")


@pytest.mark.parametrize("space", [" ", "\t", "  "])
def test_white_space_in_lists(tmp_path: Path, space: str):
    (tmp_path / "list.txt").write_bytes(f"\ufeff3{space}id10003/v/00001.wav \r\n\r\n".encode())
    (line,) = read_list(tmp_path / "list.txt")
    assert (line.split, line.path) == ("test", "id10003/v/00001.wav")


def test_missing_list_and_corpus(small: Layout, tmp_path: Path):
    with pytest.raises(DataError, match=r"meta_data: list .*nowhere does not exist; .*fetch_lists\.py --only voxceleb1"):
        read_list(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"file_path: folder .*nowhere does not exist; VoxCeleb1 is unpacked as"):
        items(Layout(tmp_path / "nowhere", small.split_file), "train")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"has no folder \*/wav"):
        items(Layout(tmp_path / "empty", small.split_file), "train")
