"""Reading of text files that users give: UTF-8 with or without a byte order mark; whatever is wrong with one is one sentence.

The sentence begins with the config field that names the file, where there is one, and names file and line.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from utility.errors import DataError, did_you_mean

_MARK = b"\xef\xbb\xbf"


def read_lines(path: str | Path, what: str = "file", field: str = "", hint: str = "") -> list[str]:
    """The lines of a text file without their ends (``\\n`` or ``\\r\\n``; other characters that Unicode calls line ends are not).

    Args:
        path: the file.
        what: what it is called in the sentence, such as ``"lexicon"``.
        field: the config field that names it; it may be empty.
        hint: how to get it where it is missing.

    Raises:
        DataError: it is missing, cannot be opened, or is no UTF-8.
    """
    return list(lines_of(path, what, field, hint))


def lines_of(path: str | Path, what: str = "file", field: str = "", hint: str = "") -> Iterator[str]:
    """:func:`read_lines` one by one, for large files; it is opened at the first line."""
    name = naming(path, what, field)
    try:
        with Path(path).open("rb") as file:
            for line in decoded(file, name):
                yield line.rstrip("\r\n")
    except FileNotFoundError:
        raise DataError(f"{name} does not exist" + (f"; {hint}" if hint else "")) from None
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error.strerror or error}") from error


def naming(path: str | Path, what: str = "file", field: str = "") -> str:
    """How a sentence calls a file: ``FIELD: WHAT PATH``."""
    return (f"{field}: " if field else "") + f"{what} {path}"


def decoded(lines: Iterable[bytes], name: str) -> Iterator[str]:
    """Lines of bytes as text, their ends kept.

    Args:
        lines: of an open binary file, possibly one within an archive.
        name: how the sentence calls the file, see :func:`naming`.

    Raises:
        DataError: one is no UTF-8.
    """
    for number, line in enumerate(lines, 1):
        try:
            yield (line.removeprefix(_MARK) if number == 1 else line).decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{name} is no UTF-8 text: line {number} holds the byte 0x{line[error.start]:02x} at column {error.start + 1}"
            ) from None


def rows_of(
    path: str | Path,
    columns: Collection[str],
    what: str = "table",
    field: str = "",
    *,
    delimiter: str = ",",
    quoted: bool = True,
    hint: str = "",
) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a table with a header, each with the number of the line that it ends in; what a row lacks at its end is ``""``.

    Args:
        path: the file.
        columns: those that there must be; others are given too.
        what, field, hint: as for :func:`read_lines`.
        delimiter: between columns.
        quoted: quotation marks enclose values; otherwise they are ordinary characters.

    Raises:
        DataError: as :func:`read_lines`, or a column is missing, or the table is damaged.
    """
    name = naming(path, what, field)
    lines = (f"{line}\n" for line in lines_of(path, what, field, hint))
    reader = csv.DictReader(lines, delimiter=delimiter, restval="", quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)
    try:
        present = [column for column in reader.fieldnames or () if column]
        if missing := [column for column in columns if column not in present]:
            raise DataError(f"{name} has no column {missing[0]!r}{did_you_mean(missing[0], present)}")
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise DataError(f"{name}, line {reader.line_num} is damaged: {error}") from error
