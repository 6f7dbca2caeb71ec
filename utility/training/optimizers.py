"""Optimizers by the names that S3PRL's configs use (specs: s3prl-core.md 7.5).

==========================  =============================================================================================
``name``                    fields (default)
==========================  =============================================================================================
``Adam``                    torch's; lr (2e-4) and every other keyword of torch.optim.Adam
``AdamW``                   S3PRL's own; lr (2e-4), betas (0.9, 0.999), eps (1e-7), weight_decay (0)
``TorchOptim``              ``torch_optim_name``: a class of torch.optim; every other field is handed to it
``BertAdam_with_schedule``  lr (2e-4), warmup_proportion (0.07), betas, eps (1e-6), weight_decay (0.01), max_grad_norm (1.0)
``AdamW_with_schedule``     lr (2e-4), warmup_proportion (0.07), betas, eps (1e-8), weight_decay (0.01)
``Lamb_with_schedule``      the same
==========================  =============================================================================================

S3PRL drops all fields of ``Adam`` and ``AdamW`` but lr without a word; here they are honoured. ``upstream_lr`` and ``upstream_freeze`` go
with each of them, see :mod:`utility.training.fine_tuning`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from utility.errors import ConfigError, UnknownNameError
from utility.training.adam_variants import AdamW, BertAdam, Lamb
from utility.training.fields import check_fields, check_finite, check_numbers, keywords_of, plain
from utility.training.fine_tuning import FIELDS, FineTuning

_NO_DECAY = ("bias", "LayerNorm.weight")
_NEEDS_MORE = {"LBFGS": "evaluates the loss several times an update", "SparseAdam": "takes sparse gradients only"}

_Groups = list[dict[str, Any]]
_Part = tuple[list[tuple[str, nn.Parameter]], dict[str, Any]]  # parameters by name, and what their group has of its own


def build_optimizer(
    config: Mapping[str, Any],
    modules: Sequence[nn.Module] | None,
    groups: _Groups | None,
    total_steps: int,
    upstream: nn.Module | None = None,
) -> torch.optim.Optimizer:
    """The optimizer that a config's ``optimizer`` section describes.

    Args:
        config: ``name`` and the fields above; values that torch refuses are refused.
        modules: what to train. All their parameters form one group; ``*_with_schedule`` make two, as S3PRL: names containing ``bias`` or
            ``LayerNorm.weight`` are not decayed.
        groups: ready groups (``{"params": [...], "lr": ...}``), used in place of ``modules`` unless None; fields that a group lacks come
            from ``config``.
        total_steps: updates of the whole run, for the optimizers with a built-in schedule.
        upstream: which of the modules ``upstream_lr`` and ``upstream_freeze`` speak of; with a rate of its own it comes last, in groups of
            its own.

    Raises:
        UnknownNameError: no such optimizer.
        ConfigError: unknown, missing or impossible fields, or nothing to train.
    """
    tuning = FineTuning.of(config)
    fields = {name: plain(value) for name, value in config.items() if name not in FIELDS}
    if "name" not in fields:
        raise ConfigError("field 'name' is missing", "optimizer")
    name = fields.pop("name")
    if name not in _BUILDERS:
        raise UnknownNameError("optimizer", str(name), _BUILDERS)
    check_finite(fields, source=f"optimizer {name}")
    if groups is not None:
        groups = [{**group, "params": list(group["params"])} for group in groups]
    parts = [] if groups is not None else _parts(modules or (), upstream, tuning)
    if not any(group["params"] for group in groups or ()) and not any(named for named, _ in parts):
        raise ConfigError("there is no parameter to train", "optimizer")
    return _BUILDERS[name](fields, parts, groups, total_steps)


def remembered(config: Mapping[str, Any], total_steps: int) -> set[str]:
    """The names of what the optimizer of a config remembers of each parameter that has been updated (its moments and the like)."""
    probe = nn.ParameterList([nn.Parameter(torch.ones(2, 2))])  # a matrix: some take nothing else
    optimizer = build_optimizer(config, [probe], None, total_steps)
    probe[0].grad = torch.ones(2, 2)
    optimizer.step()
    return {name for entry in optimizer.state.values() for name in entry}


def _build(make: Callable[..., torch.optim.Optimizer], params: _Groups, fields: dict[str, Any], label: str) -> torch.optim.Optimizer:
    """Calls the optimizer's class; what it thinks of the values becomes a sentence."""
    check_numbers(make, fields, source=label)
    try:
        return make(params, **fields)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(str(error).rstrip("."), label) from error


def _plain_class(
    make: type[torch.optim.Optimizer],
    label: str,
    fields: dict[str, Any],
    parts: Sequence[_Part],
    groups: _Groups | None,
    total_steps: int,
) -> torch.optim.Optimizer:
    label = f"optimizer {label}"
    check_fields(fields, keywords_of(make, besides=["params"]), source=label)
    return _build(make, groups or [{"params": [param for _, param in named], **own} for named, own in parts], fields, label)


def _adam(fields: dict[str, Any], *rest: Any) -> torch.optim.Optimizer:
    return _plain_class(torch.optim.Adam, "Adam", {"lr": 2e-4, **fields}, *rest)


def _torch_optim(fields: dict[str, Any], *rest: Any) -> torch.optim.Optimizer:
    name = fields.pop("torch_optim_name", None)
    if name is None:
        raise ConfigError("field 'torch_optim_name' is missing", "optimizer TorchOptim")
    classes = {key: value for key, value in vars(torch.optim).items() if isinstance(value, type) and key != "Optimizer"}
    classes = {key: value for key, value in classes.items() if issubclass(value, torch.optim.Optimizer)}
    if name in _NEEDS_MORE:
        raise ConfigError(f"{name} {_NEEDS_MORE[name]}, which the training loop does not offer", "optimizer TorchOptim")
    if name not in classes:
        raise UnknownNameError("class of torch.optim", str(name), set(classes) - set(_NEEDS_MORE))
    return _plain_class(classes[name], f"torch.optim.{name}", fields, *rest)


def _scheduled(
    make: type[torch.optim.Optimizer],
    label: str,
    own: dict[str, Any],
    fields: dict[str, Any],
    parts: Sequence[_Part],
    groups: _Groups | None,
    total_steps: int,
) -> torch.optim.Optimizer:
    label = f"optimizer {label}"
    check_fields(fields, keywords_of(make, besides=["params", "total_steps", *own]), source=label)
    warmup = fields.get("warmup_proportion", 0.07)
    if not isinstance(warmup, int | float) or not 0 <= warmup < 1:
        raise ConfigError(f"warmup_proportion must be a number from 0 to below 1, not {warmup!r}", label)
    return _build(make, groups or _decay_groups(parts, fields), {**own, **fields, "total_steps": total_steps}, label)


def _decay_groups(parts: Sequence[_Part], fields: dict[str, Any]) -> _Groups:
    """Of each part the decayed parameters first, then biases and layer norms."""
    groups = []
    for named, own in parts:
        decayed = [param for name, param in named if not any(part in name for part in _NO_DECAY)]
        spared = [param for name, param in named if any(part in name for part in _NO_DECAY)]
        groups += [
            {"params": decayed, "weight_decay": fields.get("weight_decay", 0.01), **own},
            {"params": spared, "weight_decay": 0.0, **own},
        ]
    return groups


def _parts(modules: Sequence[nn.Module], upstream: nn.Module | None, tuning: FineTuning) -> list[_Part]:
    """What is trained: all of it in one part, or an upstream with a rate of its own behind the rest."""
    frozen = tuning.frozen(upstream) if upstream is not None else set()
    named: list[_Part] = [([], {}), ([], {"lr": tuning.lr})]
    for module, name, param in _named_parameters(modules):
        if module is not upstream or name not in frozen:
            named[module is upstream and tuning.lr is not None][0].append((name, param))
    return [part for part in named if part[0]]


def _named_parameters(modules: Sequence[nn.Module]) -> Iterator[tuple[nn.Module, str, nn.Parameter]]:
    """Names and parameters in order, one that several modules share once."""
    seen = set()
    for module in modules:
        for name, param in module.named_parameters():
            if param not in seen:
                seen.add(param)
                yield module, name, param


_BUILDERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "Adam": _adam,
    "AdamW": partial(_plain_class, AdamW, "AdamW"),
    "TorchOptim": _torch_optim,
    "BertAdam_with_schedule": partial(_scheduled, BertAdam, "BertAdam_with_schedule", {}),
    "AdamW_with_schedule": partial(_scheduled, Lamb, "AdamW_with_schedule", {"adam": True}),
    "Lamb_with_schedule": partial(_scheduled, Lamb, "Lamb_with_schedule", {"adam": False}),
}
