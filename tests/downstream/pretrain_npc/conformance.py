"""The smallest form of the task, for the tests that every task has to pass."""

from __future__ import annotations

from pathlib import Path

from tests.downstream.pretraining.layouts import folder, override, stepped

SLOW = True  # its code is that of pretrain_apc


def prepare(place: Path) -> dict[str, str]:
    """A few sounds, and a small network."""
    root = folder(place)
    return {"upstream": "waveform", "override": override(root, "npc"), "split": "dev", "config": str(stepped(place, "npc"))}
