"""The smallest form of the task, for the tests that every task has to pass."""

from __future__ import annotations

from pathlib import Path

from tests.support.corpora import synthetic

SMALL = "config.downstream_expert.modelrc.dim=16,,config.downstream_expert.modelrc.step_ms=80"


def prepare(place: Path) -> dict[str, str]:
    """Two training passages."""
    synthetic("spoken_qa", place, size=2)
    return {"upstream": "fbank", "override": f"config.downstream_expert.datarc.root={place / 'NMSQA'},,{SMALL}"}
