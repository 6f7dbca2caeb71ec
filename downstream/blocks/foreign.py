"""What a task makes of a checkpoint of another system, for ``utility/import_checkpoint.py``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Foreign:
    """What another system's checkpoint becomes.

    Args:
        upstream: the name of our entry.
        upstream_file: what its ``-k`` file holds, or None.
        config: of the run.
        downstream: the state of the task.
        args: command line options that are not the default.
        step: updates done.
    """

    upstream: str
    upstream_file: dict[str, Any] | None
    config: dict[str, Any]
    downstream: dict[str, Any]
    args: dict[str, Any] = field(default_factory=dict)
    step: int = 0
