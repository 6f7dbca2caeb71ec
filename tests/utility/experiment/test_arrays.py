"""Tables of numbers in files."""

from __future__ import annotations

import errno
import resource
from pathlib import Path

import numpy as np
import pytest

from utility.errors import DataError
from utility.experiment.arrays import read_table, write_array


def test_what_is_written_is_read(tmp_path: Path):
    table = np.arange(6, dtype=np.float32).reshape(2, 3)
    path = write_array(tmp_path / "new/table.npy", table)
    assert np.array_equal(read_table(path), table)
    assert [file.name for file in path.parent.iterdir()] == ["table.npy"]


def test_a_file_that_cannot_be_written_whole_is_not_there_and_says_why(tmp_path: Path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(OSError) as caught:
            write_array(tmp_path / "table.npy", np.zeros((100, 100)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_table(tmp_path: Path):
    path = tmp_path / "table.npy"
    with pytest.raises(DataError, match="there is no"):
        read_table(path)
    for content in (b"", b"text", b"\x93NUMPY\x01\x00"):
        path.write_bytes(content)
        with pytest.raises(DataError, match="is damaged or no array of numbers"):
            read_table(path)
    for array in (np.zeros(3), np.zeros((2, 2), dtype=int), np.zeros((2, 2, 2))):
        np.save(path, array)
        with pytest.raises(DataError, match="is no table of floating-point numbers"):
            read_table(path)
    np.save(path, np.array([[{}]], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="is damaged"):
        read_table(path)
    np.savez(tmp_path / "table.npz", a=np.zeros((2, 2)))
    with pytest.raises(DataError, match="in an archive"):
        read_table(tmp_path / "table.npz")
