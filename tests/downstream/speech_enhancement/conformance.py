"""The smallest form of the task, for the tests that every task has to pass."""

from __future__ import annotations

from pathlib import Path

from tests.downstream.speech_enhancement.layouts import override, stepped, valentini


def prepare(place: Path) -> dict[str, str]:
    """Harmonic sounds in noise, and a small network."""
    root = valentini(place)
    return {"upstream": "stft_mag", "override": override(root), "config": str(stepped(place))}
