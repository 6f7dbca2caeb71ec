"""The smallest form of the task, for the tests that every task has to pass."""

from __future__ import annotations

from pathlib import Path

from tests.downstream.probes import prepare_probe


def prepare(place: Path) -> dict[str, str]:
    """The tiny synthetic corpus."""
    return prepare_probe(place)
