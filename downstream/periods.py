"""When logs, evaluations and checkpoints are due, whether the config counts in steps or in epochs."""

from __future__ import annotations

import math

from utility.experiment.config import RunnerConfig


class Periods:
    """The counts of the ``runner`` section.

    Args:
        runner: the checked section: for each of log, eval and save a period in steps (``log_step``) or in epochs (``log_epoch``).
        epoch_length: batches of an epoch on one process; None where nothing is counted in epochs.
    """

    def __init__(self, runner: RunnerConfig, epoch_length: int | None = None):
        self.runner = runner
        self.total_epochs = runner.total_epochs
        self.total_steps = runner.total_steps or max(1, math.floor(runner.total_epochs * epoch_length / runner.gradient_accumulate_steps))

    @staticmethod
    def need_epochs(runner: RunnerConfig) -> bool:
        """True if the length of the run is counted in epochs."""
        return not runner.total_steps

    def due(self, what: str, step: int, epochs_before: int, epochs_after: int) -> bool:
        """Is something due after this update?

        Args:
            what: ``"log"``, ``"eval"`` or ``"save"``.
            step: updates done.
            epochs_before, epochs_after: whole epochs consumed before and after the update.
        """
        steps, epochs = getattr(self.runner, f"{what}_step"), getattr(self.runner, f"{what}_epoch")
        by_step = steps is not None and step % steps == 0
        return by_step or (epochs is not None and epochs_after // epochs > epochs_before // epochs)
