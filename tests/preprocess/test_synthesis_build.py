"""Writing corpora: interruption, folders of others, other settings. The corpora of these tests hold text files only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from preprocess.synthesis import build
from preprocess.synthesis.build import Corpus, Item
from utility.errors import DataError


def plan(size: int) -> list[Item]:
    return [Item("part", "train", index, 2) for index in range(size)]


def render(item: Item, size: int, seed: int, out: Path) -> dict[str, Any]:
    for number in range(item.files):
        path = out / "toy" / f"{item.index}-{number}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{item.key} {number} {seed}")
    return {"square": item.index**2}


def finish(records: dict[str, dict[str, Any]], size: int, seed: int, out: Path) -> None:
    (out / "toy.lst").write_text(" ".join(f"{key}={record['square']}" for key, record in records.items()))


TOY = Corpus("toy", ("toy", "toy.lst"), {"tiny": 2, "small": 5, "medium": 9}, plan, render, finish)
OTHER = Corpus("other", ("other",), {"tiny": 1}, lambda size: [], render, lambda records, size, seed, out: (out / "other").mkdir())


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def whole(tmp_path: Path) -> dict[str, str]:
    """What an uninterrupted run of size 5 leaves."""
    assert build.build(TOY, tmp_path / "whole", 5, 0)
    return contents(tmp_path / "whole")


@pytest.mark.parametrize("jobs", [1, 2])
def test_everything_is_written_and_marked(whole, tmp_path, jobs):
    out = tmp_path / "new" / "folder"
    build.build(TOY, out, 5, 0, jobs)
    assert contents(out) == whole
    assert len(whole) == 5 * 2 + 2
    assert whole["toy.lst"] == "part/train/0=0 part/train/1=1 part/train/2=4 part/train/3=9 part/train/4=16"
    order = {"corpus": "toy", "size": 5, "seed": 0, "version": build.VERSION}
    assert json.loads(whole[".synthesis-toy.json"]) == {"order": order, "complete": True}


@pytest.mark.parametrize("torn", ["", '{"item": "part/train/3", "record": {"squ'])
def test_an_interrupted_run_is_continued_where_it_was(whole, tmp_path, monkeypatch, torn):
    rendered: list[str] = []
    original = build._render

    def stopping(arguments):
        if len(rendered) == 3:
            rendered.append("stop")
            raise KeyboardInterrupt
        rendered.append(arguments[1].key)
        return original(arguments)

    monkeypatch.setattr(build, "_render", stopping)
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        build.build(TOY, out, 5, 0)
    assert json.loads((out / ".synthesis-toy.json").read_text())["complete"] is False
    with (out / ".synthesis-toy.journal").open("a") as journal:
        journal.write(torn)
    assert build.build(TOY, out, 5, 0)
    assert rendered == ["part/train/0", "part/train/1", "part/train/2", "stop", "part/train/3", "part/train/4"]
    assert contents(out) == whole


def test_a_complete_corpus_is_left_alone_unless_a_part_is_gone(tmp_path):
    build.build(TOY, tmp_path, 2, 0)
    assert build.build(TOY, tmp_path, 2, 0) is False
    (tmp_path / "toy.lst").unlink()
    assert build.build(TOY, tmp_path, 2, 0) is True
    assert (tmp_path / "toy.lst").exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_folders_of_others_are_not_touched(tmp_path, overwrite):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="is not empty and was not written by this program"):
        build.build(TOY, tmp_path, 2, 0, overwrite=overwrite)
    with pytest.raises(DataError, match="is a file, not a folder"):
        build.build(TOY, tmp_path / "mine.txt", 2, 0, overwrite=overwrite)
    assert contents(tmp_path) == {"mine.txt": "mine"}


def test_other_settings_need_overwrite(tmp_path):
    build.build(TOY, tmp_path, 5, 0)
    with pytest.raises(DataError, match="holds toy of size 5, seed 0, version 1, not size 2, seed 3, version 1; give --overwrite"):
        build.build(TOY, tmp_path, 2, 3)
    assert build.build(TOY, tmp_path, 2, 3, overwrite=True)
    found = contents(tmp_path)
    assert sorted(found) == [".synthesis-toy.json", "toy.lst", *(f"toy/{index}-{number}.txt" for index in (0, 1) for number in (0, 1))]
    assert found["toy/1-1.txt"] == "part/train/1 1 3"


def test_corpora_share_a_folder_but_no_names(tmp_path):
    build.build(TOY, tmp_path, 2, 0)
    (tmp_path / "other").mkdir()
    with pytest.raises(DataError, match="was not written by this program"):
        build.build(OTHER, tmp_path, 1, 0)
    (tmp_path / "other").rmdir()
    assert build.build(OTHER, tmp_path, 1, 0)
    assert build.build(TOY, tmp_path, 2, 0) is False
