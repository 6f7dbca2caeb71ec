"""The smallest form of the task, for the tests that every task has to pass."""

from __future__ import annotations

from pathlib import Path

from tests.downstream.emotion.layouts import override, with_lists
from tests.support.corpora import synthetic


def prepare(place: Path) -> dict[str, str]:
    """The tiny synthetic corpus."""
    root = with_lists(synthetic("iemocap", place) / "IEMOCAP_full_release")
    return {"upstream": "fbank", "override": override(root)}
