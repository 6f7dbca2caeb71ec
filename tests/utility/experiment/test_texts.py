"""Files that are whole or not there at all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from utility.experiment.texts import write_text, write_whole


def test_names_as_long_as_they_may_be(tmp_path: Path):
    names = [f"{'é' * 120}{number:03}.wav" for number in range(8)]  # 247 bytes each, and the same beginning
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: write_text(tmp_path / name, name), names))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {name: name for name in names}


def test_what_fails_leaves_what_was_there(tmp_path: Path):
    write_text(tmp_path / "a", "before")

    def failing(path: Path) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device", str(path))

    with pytest.raises(OSError, match="No space left on device") as caught:
        write_whole(tmp_path / "a", failing)
    assert caught.value.filename == str(tmp_path / "a")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]
