"""What has been generated so far, pass by pass, so that a long generation goes on where it was killed."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from utility.errors import DataError
from utility.experiment.texts import write_whole


def fingerprint(settings: Mapping[str, Any], weights: Mapping[str, torch.Tensor]) -> str:
    """A word that changes with anything that is generated."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for name, value in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def in_passes(count: int, size: int) -> list[range]:
    """The numbers below ``count``, ``size`` at once."""
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


class Passes:
    """The finished passes in ``folder/.unfinished-<fingerprint>``.

    Args:
        folder: where the files of the generation go in the end.
        mark: the fingerprint; what another generation left is not looked at.
    """

    def __init__(self, folder: Path, mark: str):
        self.folder = folder / f".unfinished-{mark}"

    def path(self, first: int, last: int) -> Path:
        """The file of the pass over these examples."""
        return self.folder / f"{first}-{last}.npz"

    def find(self, first: int, last: int) -> dict[str, np.ndarray] | None:
        """A finished pass."""
        path = self.path(first, last)
        if not path.is_file():
            return None
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                return dict(stored)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"{path} is damaged; remove it, and its part is generated again: {error}") from error

    def keep(self, first: int, last: int, found: Mapping[str, np.ndarray]) -> None:
        """Writes a finished pass; the file appears whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        np.savez_compressed(content, **found)
        write_whole(self.path(first, last), lambda path: path.write_bytes(content.getvalue()))

    def clear(self) -> None:
        """Removes them, once everything is written."""
        shutil.rmtree(self.folder, ignore_errors=True)  # what a kill cut short lies there too
