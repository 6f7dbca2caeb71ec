"""The smallest form of the task, for the tests that every task has to pass."""

from __future__ import annotations

from pathlib import Path

from tests.downstream.speech_enhancement.layouts import valentini

TASK = "config.downstream_expert"


def prepare(place: Path) -> dict[str, str]:
    """Harmonic sounds in noise, and a small network."""
    root = valentini(place, test=3)
    fields = (f"datarc.root_folder={root}", "datarc.train_batch_size=2", "modelrc.hidden_size=8", "modelrc.num_layers=2")
    measured = "targetrc.metrics=['si_sdr','stoi']"
    return {"upstream": "fbank", "override": ",,".join(f"{TASK}.{field}" for field in (*fields, measured))}
