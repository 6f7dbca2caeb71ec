"""Learning-rate schedules by the names that S3PRL's configs use (specs: s3prl-core.md 7.5), and those of torch.

``num_warmup_steps`` W is required by all but ``TorchScheduler``. With s updates done and N in all, the factor on the learning rate
rises as s / W below W (so the first update happens at rate 0), and is from there on:

==================================================  =====================================================  =====================
``name``                                            factor                                                 fields (default)
==================================================  =====================================================  =====================
``linear_schedule_with_warmup``                     linear from 1 to 0 at N
``cosine_schedule_with_warmup``                     (1 + cos(2 pi c p)) / 2, p = (s - W) / (N - W)         num_cycles c (0.5)
``cosine_with_hard_restarts_schedule_with_warmup``  (1 + cos(pi (c p mod 1))) / 2, 0 from N on             num_cycles c (1)
``polynomial_decay_schedule_with_warmup``           from lr to lr_end at N by the given power              lr_end (1e-7), power (1)
``constant_decay_schedule_with_warmup``             1
``sqrt_decay_schedule_with_warmup``                 1 / sqrt(s)                                            continuous (false)
``noam_decay_schedule_with_warmup``                 768^-0.5 / sqrt(s)                                     continuous (false)
``TorchScheduler``                                  ``torch_scheduler_name``: a class of                   every other field is
                                                    torch.optim.lr_scheduler                               handed to it
==================================================  =====================================================  =====================

Of torch's, ``ReduceLROnPlateau`` moves at evaluations and takes ``split`` and ``metric`` as well, see :mod:`utility.training.plateau`.

The square-root and noam curves jump down at the end of the warm-up. Published configs were tuned with that jump, so it stays the
default; ``continuous: true`` makes both sqrt(W / s), which starts at 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.optim import lr_scheduler
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from utility.errors import ConfigError, UnknownNameError
from utility.training.fields import check_fields, check_finite, check_options, keywords_of, plain
from utility.training.plateau import Plateau

_Curve = Callable[[int], float]

_REFUSED = {
    "LambdaLR": "takes a Python function, which a config cannot hold",
    "MultiplicativeLR": "takes a Python function, which a config cannot hold",
    "SequentialLR": "takes other schedulers",
    "ChainedScheduler": "takes other schedulers",
}
# What stands in for a class of torch.
_OURS = {"ReduceLROnPlateau": Plateau}
# Lengths that follow from the run where the config leaves them out.
_LENGTHS = {"OneCycleLR": "total_steps", "CosineAnnealingLR": "T_max"}


def build_scheduler(optimizer: torch.optim.Optimizer, total_steps: int, config: Mapping[str, Any]) -> LRScheduler:
    """The scheduler that a config's ``scheduler`` section describes; its state is plain data.

    Args:
        optimizer: the optimizer whose learning rates are to move.
        total_steps: N, counted as ``scheduler.step()`` is called: once an update, or once an epoch.
        config: ``name`` and the fields above.

    Raises:
        UnknownNameError: no such scheduler.
        ConfigError: unknown, missing or impossible fields.
    """
    fields = {name: plain(value) for name, value in config.items()}
    if "name" not in fields:
        raise ConfigError("field 'name' is missing", "scheduler")
    name = fields.pop("name")
    check_finite(fields, source=f"scheduler {name}")
    if name == "TorchScheduler":
        return _torch_scheduler(optimizer, total_steps, fields)
    if name not in _CURVES:
        raise UnknownNameError("scheduler", str(name), {*_CURVES, "TorchScheduler"})
    source = f"scheduler {name}"
    make = _CURVES[name]
    own = keywords_of(make, besides=["lr", "total", "warmup"])
    check_fields(fields, {"num_warmup_steps", "last_epoch", *own}, ["num_warmup_steps"], source=source)
    faults = [f"{key} must be a number, not {value!r}" for key, value in fields.items() if not isinstance(value, int | float)]
    faults += [] if faults or fields["num_warmup_steps"] >= 0 else ["num_warmup_steps must not be negative"]
    if faults:
        raise ConfigError(faults, source)
    warmup, last_epoch = fields.pop("num_warmup_steps"), int(fields.pop("last_epoch", -1))
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])
    try:
        curves = [make(lr=group["initial_lr"], total=total_steps, warmup=warmup, **fields) for group in optimizer.param_groups]
    except ValueError as error:
        raise ConfigError(str(error), source) from error
    return LambdaLR(optimizer, [_warmed_up(curve, warmup) for curve in curves], last_epoch)


def _warmed_up(curve: _Curve, warmup: float) -> _Curve:
    return lambda s: s / max(1, warmup) if s < warmup else curve(s)


def _linear(lr: float, total: int, warmup: float) -> _Curve:
    return lambda s: max(0.0, (total - s) / max(1, total - warmup))


def _cosine(lr: float, total: int, warmup: float, num_cycles: float = 0.5) -> _Curve:
    return lambda s: max(0.0, 0.5 * (1 + math.cos(2 * math.pi * num_cycles * (s - warmup) / max(1, total - warmup))))


def _cosine_restarts(lr: float, total: int, warmup: float, num_cycles: float = 1) -> _Curve:
    def curve(s: int) -> float:
        progress = (s - warmup) / max(1, total - warmup)
        return 0.0 if progress >= 1 else max(0.0, 0.5 * (1 + math.cos(math.pi * (num_cycles * progress % 1))))

    return curve


def _sqrt(lr: float, total: int, warmup: float, continuous: bool = False) -> _Curve:
    peak = math.sqrt(max(1, warmup)) if continuous else 1.0
    return lambda s: peak / math.sqrt(max(1, warmup, s))


def _noam(lr: float, total: int, warmup: float, continuous: bool = False) -> _Curve:
    peak = math.sqrt(max(1, warmup)) if continuous else 768**-0.5
    return lambda s: peak / math.sqrt(max(1, warmup, s))


def _constant(lr: float, total: int, warmup: float) -> _Curve:
    return lambda s: 1.0


def _polynomial(lr: float, total: int, warmup: float, lr_end: float = 1e-7, power: float = 1.0) -> _Curve:
    if lr_end >= lr:
        raise ValueError(f"lr_end must be below the learning rate {lr:g}, not {lr_end:g}")

    def curve(s: int) -> float:
        left = max(0.0, 1 - (s - warmup) / max(1, total - warmup))
        return ((lr - lr_end) * left**power + lr_end) / lr if s <= total else lr_end / lr

    return curve


_CURVES: dict[str, Callable[..., _Curve]] = {
    "linear_schedule_with_warmup": _linear,
    "cosine_schedule_with_warmup": _cosine,
    "cosine_with_hard_restarts_schedule_with_warmup": _cosine_restarts,
    "sqrt_decay_schedule_with_warmup": _sqrt,
    "constant_decay_schedule_with_warmup": _constant,
    "noam_decay_schedule_with_warmup": _noam,
    "polynomial_decay_schedule_with_warmup": _polynomial,
}


def _torch_scheduler(optimizer: torch.optim.Optimizer, total_steps: int, fields: dict[str, Any]) -> LRScheduler:
    name = fields.pop("torch_scheduler_name", None)
    if name is None:
        raise ConfigError("field 'torch_scheduler_name' is missing", "scheduler TorchScheduler")
    if name in _REFUSED:
        raise ConfigError(f"{name} {_REFUSED[name]}", "scheduler TorchScheduler")
    classes = {key for key, value in vars(lr_scheduler).items() if isinstance(value, type) and issubclass(value, LRScheduler)}
    classes -= {"LRScheduler", "_LRScheduler", *_REFUSED}
    if name not in classes:
        raise UnknownNameError("class of torch.optim.lr_scheduler", str(name), classes)
    make, source = _OURS.get(name) or getattr(lr_scheduler, name), f"scheduler torch.optim.lr_scheduler.{name}"
    check_fields(fields, keywords_of(make, besides=["optimizer"]), source=source)
    if name in _OURS:
        check_options(make, fields, source=source)
    if name in _LENGTHS and not {_LENGTHS[name], "epochs"} & fields.keys():
        fields[_LENGTHS[name]] = total_steps
    try:
        return make(optimizer, **fields)
    except (TypeError, ValueError, KeyError, ZeroDivisionError) as error:
        raise ConfigError(str(error).rstrip("."), source) from error
