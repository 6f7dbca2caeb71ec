"""What becomes of an error that a program does not catch."""

from __future__ import annotations

import errno

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
    ],
)
def test_errors_of_a_user_and_of_the_disk_are_one_sentence(error: Exception, sentence: str, capsys: pytest.CaptureFixture):
    assert failing(error) == 2
    assert capsys.readouterr().err == f"{sentence}\n"


@pytest.mark.parametrize("error", [ValueError("x"), FileNotFoundError(errno.ENOENT, "No such file or directory", "bug.txt"), OSError("x")])
def test_bugs_keep_their_tracebacks(error: Exception):
    with pytest.raises(type(error)):
        failing(error)
