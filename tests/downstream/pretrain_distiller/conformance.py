"""The smallest form of the task, for the tests that every task has to pass."""

from __future__ import annotations

from pathlib import Path

from tests.downstream.pretraining.layouts import folder, override
from tests.upstream.recorded import GOLDEN


def prepare(place: Path) -> dict[str, str]:
    """A few sounds, a small student, and a tiny recorded teacher."""
    teacher = f"hubert_local:{GOLDEN / 'hubert_multilabel/ckpt.pt'}"
    return {"upstream": teacher, "override": override(folder(place), "distiller"), "split": "dev"}
