"""Small files of numbers beside a checkpoint: written whole or not at all, read without executing anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypeVar

import torch

from utility.errors import CheckpointError
from utility.experiment.texts import write_whole

Made = TypeVar("Made")


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Writes tensors and plain data."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda part: torch.save(dict(content), part))


def read(path: Path, make: Callable[[dict[str, Any]], Made], what: str, work: str) -> Made:
    """What ``make`` makes of a file's content.

    Args:
        path: the file.
        make: may fail on a content that is not its own.
        what: what the file is called in a sentence.
        work: the ``-t`` that writes it.

    Raises:
        CheckpointError: it is missing, or something else.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no {what} {path}; -t {work} makes one")
    try:
        return make(torch.load(path, weights_only=True))
    except (UnpicklingError, EOFError, RuntimeError, KeyError, TypeError, AttributeError, ValueError, OSError) as error:
        first = str(error).split("\n", 1)[0] or type(error).__name__  # torch explains at length
        raise CheckpointError(f"{path} is no {what}: {first}") from error
