"""Which checkpoints are kept, which is best, and when to stop: the bookkeeping of SHEET's trainer, without what it forgets on a resume."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from utility.errors import ConfigError

ORDERS = ("highest", "lowest")


@dataclass
class Ranking:
    """The evaluations of a run.

    Args:
        nbest: how many checkpoints are kept.
        patience: evaluations outside the ``nbest`` until training stops; None never stops it.
        order: ``highest`` or ``lowest``, which is best. Among equals the later one ranks higher with ``highest``, the earlier with
            ``lowest``.

    An undefined value ranks last.
    """

    nbest: int
    patience: int | None
    order: str
    history: list[tuple[int, float | None]] = field(default_factory=list)
    left: int | None = None

    def __post_init__(self) -> None:
        if self.order not in ORDERS:
            raise ConfigError(f"order must be highest or lowest, not {self.order!r}", "best_model_criterion")
        self.left = self.patience if self.left is None else self.left

    def add(self, step: int, value: float | None) -> bool:
        """Takes an evaluation; returns whether its checkpoint is among the best."""
        self.history = [entry for entry in self.history if entry[0] != step] + [(step, value)]
        kept = step in self.kept
        if self.patience is not None:
            self.left = self.patience if kept else self.left - 1
        return kept

    @property
    def ranked(self) -> list[int]:
        """Steps of all evaluations, the best first."""
        defined = [entry for entry in self.history if entry[1] is not None]
        ordered = sorted(defined, key=lambda entry: entry[1], reverse=False)
        if self.order == "highest":
            ordered.reverse()  # of a stable order: the later of equals comes first
        return [step for step, _ in ordered] + [step for step, value in self.history if value is None]

    @property
    def kept(self) -> list[int]:
        """Steps of the checkpoints to keep, the best first."""
        return self.ranked[: self.nbest]

    @property
    def best(self) -> int | None:
        """The step of the best."""
        return self.ranked[0] if self.history else None

    @property
    def exhausted(self) -> bool:
        """Whether patience has run out."""
        return self.left is not None and self.left <= 0

    def state(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        return {"history": [list(entry) for entry in self.history], "left": self.left}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes what :meth:`state` gave."""
        self.history, self.left = [(int(step), value) for step, value in state["history"]], state["left"]
