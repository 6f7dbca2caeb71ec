"""The smallest form of the task, for the tests that every task has to pass."""

from __future__ import annotations

from pathlib import Path

from tests.downstream.sc09_classifier.layouts import DATARC, MODELRC, stepped, tones


def prepare(place: Path) -> dict[str, str]:
    """Hums in place of digits, and a small network."""
    root = tones(place / "sc09", train=2)
    return {"upstream": "waveform", "override": f"{DATARC}.path={root},,{DATARC}.batch_size=4,,{MODELRC}", "config": str(stepped(place))}
