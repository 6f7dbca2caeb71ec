"""The smallest form of the task, for the tests that every task has to pass."""

from __future__ import annotations

from pathlib import Path

from tests.downstream.pretraining.layouts import folder, override


def prepare(place: Path) -> dict[str, str]:
    """A few sounds, and a small network."""
    return {"upstream": "waveform", "override": override(folder(place), "tera"), "split": "dev"}
