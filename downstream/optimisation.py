"""Gradients to weights: accumulation, averaging over ranks, clipping, optimizer, schedule and loss scaling."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from utility.errors import CheckpointError, ConfigError, ToolkitError, did_you_mean
from utility.training.distributed import Team
from utility.training.fine_tuning import FineTuning
from utility.training.optimizers import build_optimizer
from utility.training.plateau import SOURCE, Plateau
from utility.training.schedulers import build_scheduler

log = logging.getLogger(__name__)

MOST_SKIPPED = 100


class Optimisation:
    """The optimizer of a run with everything around it.

    Args:
        config: the whole config (``optimizer`` and, optionally, ``scheduler``).
        modules: the trainable modules in their order, by name.
        groups: the task's own parameter groups; None = one group of everything.
        team: the processes whose gradients are averaged.
        total_steps, total_epochs: length of the run; a schedule counted in epochs needs the latter.
        accumulate: micro-batches per update.
        clipping: largest L2 norm of all gradients together.
        scale_loss: fp16 training on a GPU.
        before: called with the gradients of each update, before their norm is cut.

    Attributes:
        grad_norm: norm before clipping of the last update (float).
        skipped: updates in a row, up to the last, whose gradient was not finite.
        lr: learning rate of the first group in the last update.
        own_groups: the task made the parameter groups.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        modules: Mapping[str, nn.Module],
        groups: list[dict[str, Any]] | None,
        team: Team,
        total_steps: int,
        total_epochs: int | None,
        accumulate: int,
        clipping: float,
        scale_loss: bool = False,
        before: Callable[[], None] = lambda: None,
    ):
        self.team, self.accumulate, self.clipping, self.before = team, accumulate, clipping, before
        self.own_groups = groups is not None
        upstream = modules.get("Upstream")
        tuning = FineTuning.of(config["optimizer"])
        if self.own_groups and tuning.lr is not None:
            raise ConfigError("upstream_lr has no place here: this task has learning rates of its own for each part", "optimizer")
        self.optimizer = build_optimizer(config["optimizer"], list(modules.values()), _trained(groups, upstream), total_steps, upstream)
        self.parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        schedule = dict(config.get("scheduler") or {})
        self.by_epoch = _moves_by_epoch(schedule, total_epochs)
        self.scheduler = build_scheduler(self.optimizer, total_epochs if self.by_epoch else total_steps, schedule) if schedule else None
        self._check_plateau(config)
        last = self.optimizer.param_groups[-1]
        if tuning.lr is not None and not self.own_groups and last.get("initial_lr", last["lr"]) != tuning.lr:
            raise ConfigError("upstream_lr has no place here: this schedule sets the learning rates itself", "optimizer")
        self.scaler = torch.amp.GradScaler("cuda") if scale_loss else None
        self.grad_norm, self.lr = 0.0, self.optimizer.param_groups[0]["lr"]
        self.skipped = 0

    def backward(self, loss: Tensor) -> None:
        """Adds the gradients of one micro-batch."""
        loss = loss / self.accumulate
        (self.scaler.scale(loss) if self.scaler else loss).backward()

    def forget(self) -> None:
        """Drops the gradients gathered so far."""
        self.optimizer.zero_grad(set_to_none=True)

    def update(self, step: int) -> None:
        """One optimizer update; skipped, with a warning, if the gradient is not finite. The schedule moves on in both cases.

        Raises:
            ToolkitError: a hundred updates in a row were skipped, so that nothing is learnt any more.
        """
        self.team.average_gradients(self.parameters)
        if self.scaler:
            self.scaler.unscale_(self.optimizer)
        self.before()
        self.grad_norm = nn.utils.clip_grad_norm_(self.parameters, self.clipping).item()
        self.lr = self.optimizer.param_groups[0]["lr"]
        if self.scaler:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        elif math.isfinite(self.grad_norm):
            self.optimizer.step()
        self._count_skipped(step)
        self.forget()
        if self.scheduler is not None and not self.by_epoch and not isinstance(self.scheduler, Plateau):
            self.scheduler.step()

    def _count_skipped(self, step: int) -> None:
        """Loss scaling overflows at times and helps itself, so it is not warned of."""
        if math.isfinite(self.grad_norm):
            self.skipped = 0
            return
        self.skipped += 1
        if not self.scaler:
            log.warning("[Runner] - grad norm is %s at step %d: the update is skipped", self.grad_norm, step)
        if self.skipped >= MOST_SKIPPED:
            raise ToolkitError(
                f"the gradient was not finite in {MOST_SKIPPED} updates in a row, up to step {step}: nothing is learnt any more; "
                "a lower learning rate, full precision or other data may help"
            )

    def epochs_ended(self, count: int) -> None:
        """Moves a schedule that counts in epochs."""
        if self.scheduler is not None and self.by_epoch:
            for _ in range(count):
                self.scheduler.step()

    def evaluated(self, split: str, scores: Mapping[str, tuple[float, bool]]) -> None:
        """Moves a schedule that follows a score.

        Args:
            split: what was evaluated.
            scores: value of each, and whether higher is better.

        Raises:
            ConfigError: the task has no such score, or it goes the other way.
        """
        if isinstance(self.scheduler, Plateau) and self.scheduler.split == split:
            self.scheduler.follow(scores)

    def _check_plateau(self, config: Mapping[str, Any]) -> None:
        if not isinstance(self.scheduler, Plateau):
            return
        split, splits = self.scheduler.split, (config.get("runner") or {}).get("eval_dataloaders") or ()
        if split not in splits:
            raise ConfigError(f"split {split!r} is none of runner.eval_dataloaders{did_you_mean(split, splits)}", SOURCE)
        if self.by_epoch:
            raise ConfigError("interval must be absent: this schedule moves at each evaluation", SOURCE)

    def state(self) -> dict[str, Any]:
        """Entries of the checkpoint."""
        state = {"Optimizer": self.optimizer.state_dict()}
        if self.scheduler is not None:
            state["Scheduler"] = self.scheduler.state_dict()
        if self.scaler is not None:
            state["Scaler"] = self.scaler.state_dict()
        return state

    def load(self, state: Mapping[str, Any], anew: bool = False) -> None:
        """Restores :meth:`state`.

        Args:
            state: a checkpoint.
            anew: its settings (learning rates, decays, the schedule's fields ...) give way to those that this was built with, as if they
                had held since the first update: the schedule stands where so many updates bring it, or begins now if there was none.

        Raises:
            CheckpointError: the state is of another optimizer.
            ConfigError: the schedule does not reach as far as the run has come.
        """
        try:
            position = state.get("Scheduler")
            if self.scaler is not None and state.get("Scaler"):
                self.scaler.load_state_dict(state["Scaler"])
            if self.scheduler is not None and position and not anew:
                self.scheduler.load_state_dict(position)
            elif isinstance(self.scheduler, Plateau) and position:
                self.scheduler.go_on_from(position)
            elif self.scheduler is not None and position:
                self._move_schedule(position["last_epoch"])
            fields = [{k: v for k, v in group.items() if k != "params"} for group in self.optimizer.param_groups]
            self.optimizer.load_state_dict(state["Optimizer"])  # the last: building the scheduler has reset the learning rate
            for group, own in zip(self.optimizer.param_groups, fields, strict=True):
                loaded = dict(group)
                group.clear()  # its fields keep the order that they have in a run that was never stopped
                group.update({**own, **loaded})
                if anew or (self.scheduler is not None and not position):
                    group.update(own)
        except (KeyError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"the checkpoint does not fit the optimizer of this config: {error}") from error

    def _move_schedule(self, position: int) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")  # no update belongs to these steps
            try:
                while self.scheduler.last_epoch < position:
                    self.scheduler.step()
            except ValueError as error:
                raise ConfigError(f"the schedule does not reach step {position}, where the run stands: {error}", "scheduler") from error


def _trained(groups: list[dict[str, Any]] | None, upstream: nn.Module | None) -> list[dict[str, Any]] | None:
    """A task's own groups without what is frozen of the upstream."""
    frozen = {p for p in upstream.parameters() if not p.requires_grad} if upstream is not None else set()
    if groups is None or not frozen:
        return groups
    return [{**group, "params": [p for p in group["params"] if p not in frozen]} for group in groups]


def _moves_by_epoch(schedule: dict[str, Any], total_epochs: int | None) -> bool:
    """Takes ``interval`` (the schedule moves every ``step`` or every ``epoch``) out of the scheduler's fields."""
    interval = schedule.pop("interval", "step")
    if interval not in ("step", "epoch"):
        raise ConfigError(f"scheduler.interval is {interval!r}; valid: step, epoch")
    if interval == "epoch" and total_epochs is None:
        raise ConfigError("scheduler.interval is 'epoch', which needs runner.total_epochs in place of runner.total_steps")
    return interval == "epoch"
