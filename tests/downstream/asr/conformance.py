"""The smallest form of the task, for the tests that every task has to pass."""

from __future__ import annotations

from pathlib import Path

from tests.downstream.librispeech import synthetic

SMALL = (
    "config.downstream_expert.datarc.batch_size=3,,config.downstream_expert.modelrc.project_dim=12,,"
    "config.downstream_expert.modelrc.RNNs={'dim': [8], 'dropout': [0.2], 'total_rate': 480}"
)


def prepare(place: Path) -> dict[str, str]:
    """The tiny synthetic corpus, and a small head."""
    return {"upstream": "mel", "override": f"{synthetic(place).override},,{SMALL}", "split": "test-clean"}
