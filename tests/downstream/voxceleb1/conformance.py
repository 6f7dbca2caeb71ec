"""The smallest form of the task, for the tests that every task has to pass."""

from __future__ import annotations

from pathlib import Path

from tests.downstream.voxceleb1.layouts import synthetic


def prepare(place: Path) -> dict[str, str]:
    """The tiny synthetic corpus, in parts of a second."""
    layout = synthetic(place)
    shorter = "config.downstream_expert.datarc.max_timestep=16000,,config.downstream_expert.datarc.eval_batch_size=4"
    return {"upstream": "fbank", "override": f"{layout.override},,{shorter}"}
