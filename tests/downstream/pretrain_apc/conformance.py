"""The smallest form of the task, for the tests that every task has to pass."""

from __future__ import annotations

from pathlib import Path

from tests.downstream.pretraining.layouts import folder, override, stepped


def prepare(place: Path) -> dict[str, str]:
    """A few sounds, and a small network."""
    root = folder(place)
    return {"upstream": "waveform", "override": override(root, "apc"), "split": "dev", "config": str(stepped(place, "apc"))}
