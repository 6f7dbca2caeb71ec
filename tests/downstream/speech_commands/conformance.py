"""The smallest form of the task, for the tests that every task has to pass."""

from __future__ import annotations

from pathlib import Path

from tests.downstream.speech_commands.layouts import Layout
from tests.support.corpora import synthetic


def prepare(place: Path) -> dict[str, str]:
    """The tiny synthetic corpus."""
    synthetic("speech_commands", place)
    layout = Layout(place / "speech_commands_v0.01", place / "speech_commands_test_set_v0.01")
    return {"upstream": "fbank", "override": f"{layout.override},,config.downstream_expert.datarc.batch_size=8"}
