"""The smallest form of the task, for the tests that every task has to pass."""

from __future__ import annotations

from pathlib import Path

from tests.support.corpora import synthetic


def prepare(place: Path) -> dict[str, object]:
    """The tiny synthetic corpus; there is nothing to train."""
    synthetic("quesst", place)
    root = f"config.downstream_expert.datarc.dataset_root='{place / 'quesst14Database'}'"
    return {"upstream": "fbank", "override": f"{root},,config.downstream_expert.datarc.num_workers=0", "trains": False}
