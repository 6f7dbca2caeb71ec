"""What becomes of an error that a program does not catch."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from utility.errors import DataError, program


def failing(error: Exception) -> int:
    @program
    def main(argv: list[str] | None = None) -> int:
        raise error

    return main([])


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (DataError("the corpus is missing"), "the corpus is missing"),
        (PermissionError(errno.EACCES, "Permission denied", "run/report.txt"), "Permission denied: run/report.txt"),
        (OSError(errno.EROFS, "Read-only file system", "target", None, "run/link"), "Read-only file system: run/link"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "scores.json"), "Is a directory: scores.json"),
        (FileExistsError(errno.EEXIST, "File exists", "cache"), "File exists: cache"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "x" * 300), "File name too long: " + "x" * 300),
        (OSError(errno.ELOOP, "Too many levels of symbolic links", "a"), "Too many levels of symbolic links: a"),
    ],
)
def test_errors_of_a_user_and_of_the_disk_are_one_sentence(error: Exception, sentence: str, capsys: pytest.CaptureFixture):
    assert failing(error) == 2
    assert capsys.readouterr().err == f"{sentence}\n"


@pytest.mark.parametrize("error", [ValueError("x"), FileNotFoundError(errno.ENOENT, "No such file or directory", "bug.txt"), OSError("x")])
def test_bugs_keep_their_tracebacks(error: Exception):
    with pytest.raises(type(error)):
        failing(error)


@pytest.mark.parametrize("length", [5, 1_000_000], ids=["one line", "more than a pipe holds"])
def test_a_reader_that_has_read_enough_ends_a_program_without_a_word(length: int, monkeypatch: pytest.MonkeyPatch, capsys):
    reading, writing = os.pipe()
    os.close(reading)

    @program
    def main(argv: list[str] | None = None) -> int:
        print("x" * length)
        return 0

    with os.fdopen(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert main([]) == 141
    assert capsys.readouterr().err == ""


def test_a_page_of_which_only_the_first_lines_are_read(repo: Path):
    command = "python template_music.py 400 | head -n 1; echo ${PIPESTATUS[0]}"
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    folder = repo / "downstream" / "audio_generation" / "mturk"
    found = subprocess.run(["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[1:] == ["141"] and found.stderr == ""
