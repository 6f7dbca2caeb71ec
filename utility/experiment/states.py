"""The names of a run's numbered checkpoints, and of the folders of their results."""

from __future__ import annotations

import re
from pathlib import Path

SUFFIXES = (".ckpt", ".pkl")  # the latter for tasks that keep the names of other systems
_NAME = re.compile(r"states-(\d+)(\.ckpt)?")


def list_states(folder: Path) -> list[tuple[int, Path]]:
    """``(step, file)`` of every ``states-<step>.ckpt`` directly in ``folder``, oldest first."""
    return [(step, path) for step, path in _numbered(folder, ".ckpt") if path.is_file()]


def list_checkpoints(folder: Path) -> list[Path]:
    """Every checkpoint directly in ``folder``, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES) if folder.is_dir() else []


def list_results(folder: Path) -> list[tuple[int, Path]]:
    """``(step, folder)`` of every ``states-<step>`` directly in ``folder``, oldest first."""
    return [(step, path) for step, path in _numbered(folder, None) if path.is_dir()]


def _numbered(folder: Path, suffix: str | None) -> list[tuple[int, Path]]:
    if not folder.is_dir():
        return []
    found = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted((int(match[1]), path) for match, path in found if match and match[2] == suffix)
