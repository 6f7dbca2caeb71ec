"""Where answers to a user's recordings go: a JSON line each, or a row of a table where the file's name ends in ``.csv``."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from utility.errors import UsageError

NAMES = ("file", "files")


@contextmanager
def writer(output: str | None) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """A function that writes an answer at once.

    Args:
        output: the file; None for stdout.

    Raises:
        UsageError: it cannot be written, or a table would need other columns than those of its first answer.
    """
    if output is None:
        yield lambda given: print(as_json(given), flush=True)
        return
    table = Path(output).suffix.lower() == ".csv"
    try:
        with Path(output).open("w", encoding="utf-8", newline="" if table else None) as file:
            yield Table(file, output).add if table else lambda given: print(as_json(given), file=file, flush=True)
    except OSError as error:
        raise UsageError(f"--output {output}: {error.strerror}") from error


def as_json(given: Any) -> str:
    """Tensors and numpy numbers as numbers, in one line."""
    return json.dumps(given, ensure_ascii=False, default=_number)


class Table:
    """Rows below the columns of the first answer, names of files first; what is neither text nor number is JSON.

    Args:
        file: open for writing.
        name: of it, for messages.
    """

    def __init__(self, file: TextIO, name: str):
        self.file, self.name, self.columns = file, name, []

    def add(self, given: Mapping[str, Any]) -> None:
        """Writes an answer.

        Raises:
            UsageError: it has other columns than the first.
        """
        rows = csv.writer(self.file)
        if not self.columns:
            self.columns = sorted(given, key=lambda column: column not in NAMES)
            rows.writerow(self.columns)
        if set(given) != set(self.columns):
            raise UsageError(
                f"--output {self.name}: the answers have different fields ({', '.join(self.columns)}; then {', '.join(given)}), which only "
                "JSON lines can hold; take a name that does not end in .csv"
            )
        rows.writerow([_cell(given[column]) for column in self.columns])
        self.file.flush()


def _cell(value: Any) -> Any:
    return value if isinstance(value, str | int | float) else as_json(value)


def _number(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)
