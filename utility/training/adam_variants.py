"""The three variants of Adam that S3PRL's configs name and torch does not have (specs: s3prl-core.md 7.5).

All keep S3PRL's state layout (``step``, ``exp_avg``, ``exp_avg_sq``; ``step`` a plain int), so that its checkpoints load.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

# Names in S3PRL's BertAdam -> ours.
_STATE_NAMES = {"next_m": "exp_avg", "next_v": "exp_avg_sq"}
_GROUP_NAMES = {"e": "eps"}
_STATE_FIELDS = ("step", "exp_avg", "exp_avg_sq")


@dataclass
class _Batch:
    """Parameters of one group that share device, dtype and step count, with their gradients and moments.

    Args:
        step: number of this update, from 1.
    """

    step: int
    params: list[Tensor] = field(default_factory=list)
    grads: list[Tensor] = field(default_factory=list)
    first: list[Tensor] = field(default_factory=list)
    second: list[Tensor] = field(default_factory=list)

    def update_moments(self, betas: tuple[float, float]) -> None:
        """Running means of the gradients and of their squares."""
        torch._foreach_lerp_(self.first, self.grads, 1 - betas[0])
        torch._foreach_mul_(self.second, betas[1])
        torch._foreach_addcmul_(self.second, self.grads, self.grads, 1 - betas[1])

    def denominators(self, eps: float) -> list[Tensor]:
        """sqrt(v) + eps of each parameter."""
        roots = torch._foreach_sqrt(self.second)
        torch._foreach_add_(roots, eps)
        return roots

    def directions(self, eps: float, weight_decay: float) -> list[Tensor]:
        """m / (sqrt(v) + eps) + weight_decay * p of each parameter."""
        directions = torch._foreach_div(self.first, self.denominators(eps))
        if weight_decay:
            torch._foreach_add_(directions, self.params, alpha=weight_decay)
        return directions


class _MomentOptimizer(torch.optim.Optimizer):
    """State keeping and loading of the variants; a subclass says how one batch of parameters is updated."""

    def __init__(self, params: Iterable, **defaults: Any):
        betas = defaults["betas"]
        faults = [name for name in ("lr", "eps", "weight_decay") if defaults[name] < 0]
        faults += [] if len(betas) == 2 and all(0 <= beta < 1 for beta in betas) else ["betas"]
        if faults:
            raise ValueError(f"{faults[0]} must not be {defaults[faults[0]]}")
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """One update of every parameter that has a gradient; returns the closure's loss, if there is a closure."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for batch in self._batches(group):
                self._update(group, batch)
        return loss

    def _update(self, group: dict[str, Any], batch: _Batch) -> None:
        raise NotImplementedError

    def _batches(self, group: dict[str, Any]) -> Iterator[_Batch]:
        batches: dict[tuple, _Batch] = {}
        for param in group["params"]:
            if param.grad is None:
                continue
            state = self.state[param]
            if not state:
                state.update(step=0, exp_avg=torch.zeros_like(param), exp_avg_sq=torch.zeros_like(param))
            state["step"] += 1
            batch = batches.setdefault((param.device, param.dtype, state["step"]), _Batch(state["step"]))
            batch.params.append(param)
            batch.grads.append(param.grad)
            batch.first.append(state["exp_avg"])
            batch.second.append(state["exp_avg_sq"])
        yield from batches.values()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Loads a state of this class or of its S3PRL namesake, whose schedule objects and diagnostics are dropped."""
        state = {
            key: {ours: value for name, value in entry.items() if (ours := _STATE_NAMES.get(name, name)) in _STATE_FIELDS}
            for key, entry in state_dict["state"].items()
        }
        if any(len(entry) != len(_STATE_FIELDS) for entry in state.values()):
            raise ValueError(f"the saved state is not one of {type(self).__name__}: each parameter needs {', '.join(_STATE_FIELDS)}")
        groups = [self._own_fields(saved) for saved in state_dict["param_groups"]]
        super().load_state_dict({"state": state, "param_groups": groups})
        for entry in self.state.values():
            entry["step"] = int(entry["step"])

    def _own_fields(self, saved: dict[str, Any]) -> dict[str, Any]:
        """The fields of a saved group that this class (or an LRScheduler: ``initial_lr``) knows, the others at their present defaults."""
        named = {_GROUP_NAMES.get(name, name): value for name, value in saved.items()}
        return {**self.defaults, **{name: value for name, value in named.items() if name in {*self.defaults, "params", "initial_lr"}}}


class AdamW(_MomentOptimizer):
    """S3PRL's AdamW: eps is added to sqrt(v) before the bias correction, unlike in torch.

    Args:
        params: parameters or groups.
        lr: learning rate.
        betas: decay of the moments.
        eps: added to sqrt(v).
        weight_decay: decoupled, times lr, applied after the step.
    """

    def __init__(
        self, params: Iterable, lr: float = 2e-4, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-7, weight_decay: float = 0.0
    ):
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def _update(self, group: dict[str, Any], batch: _Batch) -> None:
        batch.update_moments(group["betas"])
        size = group["lr"] * _bias_correction(group["betas"], batch.step)
        torch._foreach_addcdiv_(batch.params, batch.first, batch.denominators(group["eps"]), -size)
        if group["weight_decay"]:
            torch._foreach_mul_(batch.params, 1 - group["lr"] * group["weight_decay"])


class _Scheduled(_MomentOptimizer):
    """An optimizer with a built-in linear warm-up and decay over ``total_steps``."""

    def get_lr(self) -> list[float]:
        """The learning rate of each group at the number of updates done, for logs; 0 before the first."""
        done = [max((self.state[p]["step"] for p in group["params"] if p in self.state), default=0) for group in self.param_groups]
        return [_scheduled_lr(group, step) for group, step in zip(self.param_groups, done, strict=True)]


class BertAdam(_Scheduled):
    """BERT's Adam: no bias correction, decay inside the step, each parameter's gradient clipped by itself.

    The first update happens at learning rate 0 (the schedule counts updates before the present one).

    Args:
        params: parameters or groups.
        lr: peak learning rate.
        total_steps: updates until the rate is 0 again.
        warmup_proportion: fraction of them with rising rate.
        betas, eps, weight_decay: as in Adam.
        max_grad_norm: largest norm of a single parameter's gradient; None or 0 = no limit.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float = 2e-4,
        total_steps: int = 1,
        warmup_proportion: float = 0.07,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
        max_grad_norm: float | None = 1.0,
    ):
        schedule = {"total_steps": total_steps, "warmup_proportion": warmup_proportion}
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, max_grad_norm=max_grad_norm, **schedule)

    def _update(self, group: dict[str, Any], batch: _Batch) -> None:
        if group["max_grad_norm"]:
            batch.grads = _clipped(batch.grads, group["max_grad_norm"])
        batch.update_moments(group["betas"])
        directions = batch.directions(group["eps"], group["weight_decay"])
        torch._foreach_add_(batch.params, directions, alpha=-_scheduled_lr(group, batch.step - 1))


class Lamb(_Scheduled):
    """LAMB (arXiv 1904.00962) without bias correction, or with ``adam`` the same code as an AdamW with bias correction.

    Args:
        params: parameters or groups.
        lr: peak learning rate.
        total_steps: updates until the rate is 0 again.
        warmup_proportion: fraction of them with rising rate.
        betas, eps, weight_decay: as in Adam.
        adam: trust ratio 1 and bias correction (of the whole step, decay included).
    """

    def __init__(
        self,
        params: Iterable,
        lr: float = 2e-4,
        total_steps: int = 1,
        warmup_proportion: float = 0.07,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        adam: bool = False,
    ):
        schedule = {"total_steps": total_steps, "warmup_proportion": warmup_proportion}
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, adam=adam, **schedule)

    def _update(self, group: dict[str, Any], batch: _Batch) -> None:
        batch.update_moments(group["betas"])
        directions = batch.directions(group["eps"], group["weight_decay"])
        size = _scheduled_lr(group, batch.step)
        if group["adam"]:
            size *= _bias_correction(group["betas"], batch.step)
        else:
            torch._foreach_mul_(directions, _trust_ratios(batch.params, directions))
        torch._foreach_add_(batch.params, directions, alpha=-size)


def _bias_correction(betas: tuple[float, float], step: int) -> float:
    return math.sqrt(1 - betas[1] ** step) / (1 - betas[0] ** step)


def _scheduled_lr(group: dict[str, Any], step: int) -> float:
    """Linear rise to lr over the warm-up, linear fall to 0 at ``total_steps``."""
    progress, warmup = step / group["total_steps"], group["warmup_proportion"]
    factor = progress / warmup if progress < warmup else max((progress - 1) / (warmup - 1), 0.0)
    return group["lr"] * factor


def _clipped(grads: list[Tensor], max_norm: float) -> list[Tensor]:
    """Each gradient scaled to a norm of at most ``max_norm``."""
    norms = torch.stack(torch._foreach_norm(grads))
    factors = (max_norm / (norms + 1e-6)).clamp(max=1.0)
    return list(torch._foreach_mul(grads, factors.unbind()))


def _trust_ratios(params: list[Tensor], directions: list[Tensor]) -> list[Tensor]:
    """norm(p) / norm(direction) of each parameter, 1 where either is 0."""
    weight = torch.stack(torch._foreach_norm(params))
    length = torch.stack(torch._foreach_norm(directions))
    return list(torch.where((weight > 0) & (length > 0), weight / length, 1.0).unbind())
