"""The schedule that follows a score, beside torch's own class."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from utility.errors import ConfigError
from utility.training.plateau import Plateau
from utility.training.schedulers import build_scheduler

LOSSES = [1.0, 0.9, 0.95, 0.93, 0.92, 0.91, 0.9, 0.5, 0.6, 0.7, 0.8, 0.9, 0.9]
CONFIG = {"name": "TorchScheduler", "torch_scheduler_name": "ReduceLROnPlateau", "patience": 1, "factor": 0.5, "cooldown": 1}


def sgd(*rates: float) -> torch.optim.Optimizer:
    return torch.optim.SGD([{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in rates or (0.1,)])


def rates(optimizer: torch.optim.Optimizer) -> list[float]:
    return [group["lr"] for group in optimizer.param_groups]


def test_it_falls_as_torchs_own_does():
    ours, theirs = sgd(0.1, 0.4), sgd(0.1, 0.4)
    plateau, reference = build_scheduler(ours, 10, CONFIG), ReduceLROnPlateau(theirs, patience=1, factor=0.5, cooldown=1)
    for loss in LOSSES:
        plateau.follow({"loss": (loss, False), "acc": (1 - loss, True)})
        reference.step(loss)
        assert rates(ours) == rates(theirs)
    assert rates(ours) == [0.00625, 0.025]


def test_a_resumed_one_goes_on():
    optimizer = sgd()
    plateau = build_scheduler(optimizer, 10, CONFIG)
    for loss in LOSSES[:5]:
        plateau.follow({"loss": (loss, False)})
    resumed = sgd()
    again = build_scheduler(resumed, 10, CONFIG)
    again.load_state_dict(copy.deepcopy(plateau.state_dict()))
    resumed.load_state_dict(optimizer.state_dict())
    for loss in LOSSES[5:]:
        plateau.follow({"loss": (loss, False)})
        again.follow({"loss": (loss, False)})
    assert (rates(resumed), again.state_dict()) == (rates(optimizer), plateau.state_dict())


def test_other_settings_keep_how_far_the_rates_had_fallen():
    optimizer = sgd(0.1)
    plateau = build_scheduler(optimizer, 10, CONFIG)
    for loss in (1.0, 1.0, 1.0):
        plateau.follow({"loss": (loss, False)})
    assert rates(optimizer) == [0.05]
    other = sgd(0.3)
    changed = Plateau(other, factor=0.1, patience=0)
    changed.go_on_from(plateau.state_dict())
    assert rates(other) == [0.15]
    changed.follow({"loss": (0.5, False)})
    changed.follow({"loss": (0.6, False)})
    assert rates(other) == pytest.approx([0.015])


@pytest.mark.parametrize(
    ("fields", "scores", "message"),
    [
        ({"metric": "los"}, {"loss": (1.0, False)}, "metric 'los' is no score of 'dev'; did you mean 'loss'"),
        ({"metric": "acc"}, {"acc": (1.0, True)}, "acc is better when it is higher, so mode must be max"),
        ({"mode": "max"}, {"loss": (1.0, False)}, "loss is better when it is lower, so mode must be min"),
    ],
)
def test_scores_that_do_not_fit(fields: dict, scores: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        build_scheduler(sgd(), 10, {**CONFIG, **fields}).follow(scores)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"factor": 2.0}, "Factor should be < 1.0"),
        ({"patience": "many"}, "patience must be a whole number, not 'many'"),
        ({"patients": 3}, "unknown field 'patients'; did you mean 'patience'"),
        ({"mode": "least"}, "mode least is unknown"),
    ],
)
def test_impossible_fields(fields: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        build_scheduler(sgd(), 10, {**CONFIG, **fields})
