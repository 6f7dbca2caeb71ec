"""Arrays of numbers as ``.npy`` files, read without executing anything and written whole."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from utility.errors import DataError
from utility.experiment.texts import write_whole


def read_table(path: Path) -> np.ndarray:
    """(rows, columns) floating point.

    Raises:
        DataError: missing, damaged, or no table of floating-point numbers.
    """
    try:
        table = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(f"there is no {path}") from error
    except (ValueError, EOFError) as error:
        raise DataError(f"{path} is damaged or no array of numbers") from error
    if not isinstance(table, np.ndarray) or table.ndim != 2 or table.dtype.kind != "f":
        what = f"of shape {table.shape} and type {table.dtype}" if isinstance(table, np.ndarray) else "in an archive"
        raise DataError(f"{path} is no table of floating-point numbers but an array {what}")
    return table


def write_array(path: Path, values: np.ndarray) -> Path:
    """Writes the file whole or not at all; missing folders are made."""

    def write(partial: Path) -> None:
        np.save(content := io.BytesIO(), values)  # into a file NumPy writes by C, whose errors do not tell that the disk is full
        partial.write_bytes(content.getbuffer())

    path.parent.mkdir(parents=True, exist_ok=True)
    return write_whole(path, write)
