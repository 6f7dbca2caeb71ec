"""The smallest form of the task, for the tests that every task has to pass."""

from __future__ import annotations

from pathlib import Path

from tests.downstream.fluent_commands.layouts import override
from tests.support.corpora import synthetic


def prepare(place: Path) -> dict[str, str]:
    """The tiny synthetic corpus."""
    root = synthetic("fluent_commands", place) / "fluent_speech_commands_dataset"
    sizes = "config.downstream_expert.datarc.train_batch_size=8,,config.downstream_expert.datarc.eval_batch_size=8"
    return {"upstream": "fbank", "override": f"{override(root)},,{sizes}"}
