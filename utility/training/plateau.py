"""The schedule that follows a score: the learning rate falls when evaluations no longer get better."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from utility.errors import ConfigError, did_you_mean

SOURCE = "scheduler torch.optim.lr_scheduler.ReduceLROnPlateau"


class Plateau(ReduceLROnPlateau):
    """torch's ``ReduceLROnPlateau`` with the name of the score that it follows; moves once an evaluation, never with an update.

    Args:
        optimizer: whose learning rates fall.
        split: the evaluation that is followed.
        metric: one of the scores that the task reports for it.
        mode, factor, patience, threshold, threshold_mode, cooldown, min_lr, eps: as in torch; patience and cooldown count evaluations.

    Raises:
        ValueError: a factor of 1 or more, or an unknown mode.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        split: str = "dev",
        metric: str = "loss",
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float = 0.0,
        eps: float = 1e-8,
    ):
        self.split, self.metric = split, metric
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        super().__init__(optimizer, mode, factor, patience, threshold, threshold_mode, cooldown, min_lr, eps)
        self.fallen = [1.0] * len(optimizer.param_groups)

    def follow(self, scores: Mapping[str, tuple[float, bool]]) -> None:
        """One evaluation of :attr:`split`.

        Args:
            scores: value of each, and whether higher is better.

        Raises:
            ConfigError: there is no such score, or it goes the other way.
        """
        if self.metric not in scores:
            raise ConfigError(f"metric {self.metric!r} is no score of {self.split!r}{did_you_mean(self.metric, scores)}", SOURCE)
        value, higher_is_better = scores[self.metric]
        wanted, direction = ("max", "higher") if higher_is_better else ("min", "lower")
        if wanted != self.mode:
            raise ConfigError(f"{self.metric} is better when it is {direction}, so mode must be {wanted}", SOURCE)
        self.step(value)
        self.fallen = [group["lr"] / group["initial_lr"] if group["initial_lr"] else 1.0 for group in self.optimizer.param_groups]

    def go_on_from(self, state: Mapping[str, object]) -> None:
        """Takes the memory of another with other settings: its best score, its patience, and how far the learning rates had fallen."""
        for name in ("best", "num_bad_epochs", "cooldown_counter", "last_epoch"):
            setattr(self, name, state[name])
        if state["mode"] != self.mode:
            self.best = self.mode_worse
        self.fallen = list(state["fallen"])
        for group, part in zip(self.optimizer.param_groups, self.fallen, strict=True):
            group["lr"] = group["initial_lr"] * part
