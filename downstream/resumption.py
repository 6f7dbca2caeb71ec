"""How the settings of a resumed run compare with those in its checkpoint, which the command line may have changed since."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from utility.errors import ConfigError
from utility.experiment.experiment import OF_THE_CALL, PLUGINS, Experiment
from utility.training.fields import plain
from utility.training.optimizers import remembered

# What has a state of its own in the checkpoint, or is counted by one, stays what it is.
FIXED = {"optimizer": ("name", "torch_optim_name", "upstream_freeze"), "scheduler": ("name", "torch_scheduler_name", "interval")}
LENGTH = ("total_steps", "total_epochs", "gradient_accumulate_steps")  # of the run, hence of a schedule


OF_THE_PLACE = frozenset({*PLUGINS, "expdir", "expname", "device", "cache_dir"})  # a moved folder is the same run, whatever it is called


def same_settings(experiment: Experiment) -> bool:
    """Whether a resumed run has the settings of its checkpoint, so that it goes the same way."""
    stored = experiment.state["Args"]
    args = {name: value for name, value in experiment.args.items() if name not in OF_THE_CALL | OF_THE_PLACE and name in stored}
    return experiment.config == experiment.state["Config"] and all(stored[name] == value for name, value in args.items())


def settings_changed(stored: Mapping[str, Any], config: Mapping[str, Any], own_groups: bool) -> bool:
    """Whether anything that the optimizer and its schedule are built from differs from what the checkpoint was trained with.

    Args:
        stored: the config in the checkpoint.
        config: the config of the resumed run.
        own_groups: the task makes the parameter groups, so that its own settings belong to it.

    Raises:
        ConfigError: what cannot change on a resume has changed.
    """
    for section in FIXED:
        _refuse_another_kind(section, _section(stored, section), _section(config, section))
    if ("upstream_lr" in _section(stored, "optimizer")) != ("upstream_lr" in _section(config, "optimizer")):
        raise ConfigError("optimizer.upstream_lr can be changed on a resume, but not begin or end (-i starts a new run with the weights)")
    _refuse_another_memory(_section(stored, "optimizer"), _section(config, "optimizer"))
    sections = (*FIXED, *(("downstream_expert",) if own_groups else ()))
    before, now = ([_section(c, "runner").get(name) for name in LENGTH] for c in (stored, config))
    return before != now or any(_section(stored, name) != _section(config, name) for name in sections)


def _section(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {field: plain(value) for field, value in (config.get(name) or {}).items()}


def _refuse_another_kind(section: str, stored: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """A schedule may begin or end on a resume, but nothing becomes one of another kind."""
    if not stored or not now:
        return
    faults = [
        f"{section}.{name} cannot change from {stored.get(name)!r} to {now.get(name)!r} on a resume (-i starts a new run with the weights)"
        for name in FIXED[section]
        if stored.get(name) != now.get(name)
    ]
    if faults:
        raise ConfigError(faults)


def _refuse_another_memory(stored: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """A setting such as ``amsgrad`` needs running means from the first update on."""
    changed = [name for name in {**stored, **now} if stored.get(name) != now.get(name)]
    had, needed = (remembered(optimizer, 1) for optimizer in (stored, now)) if changed else (set(), set())
    if had and needed - had:
        names = ", ".join(f"optimizer.{name}" for name in changed)
        raise ConfigError(f"{names} cannot change on a resume: the optimizer would need {', '.join(sorted(needed - had))} from the start")
