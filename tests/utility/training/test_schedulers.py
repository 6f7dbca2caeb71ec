"""Schedules against S3PRL's recorded curves, and what is refused."""

from __future__ import annotations

import io
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from utility.errors import ConfigError, UnknownNameError
from utility.training.schedulers import build_scheduler

WARMED_UP = [
    "linear_schedule_with_warmup",
    "cosine_schedule_with_warmup",
    "cosine_with_hard_restarts_schedule_with_warmup",
    "sqrt_decay_schedule_with_warmup",
    "constant_decay_schedule_with_warmup",
    "noam_decay_schedule_with_warmup",
    "polynomial_decay_schedule_with_warmup",
]
TORCH = {
    "ConstantLR": {"factor": "1e-1"},
    "CosineAnnealingLR": {},
    "CosineAnnealingWarmRestarts": {"T_0": 3},
    "CyclicLR": {"base_lr": 0.01, "max_lr": 0.1},
    "ExponentialLR": {"gamma": 0.9},
    "LinearLR": {},
    "MultiStepLR": {"milestones": [2, 4]},
    "OneCycleLR": {"max_lr": 0.1},
    "PolynomialLR": {"total_iters": 4},
    "StepLR": {"step_size": 3},
}
GOLDEN = "constant_decay cosine cosine_cycles cosine_hard cosine_hard_cycles linear linear_no_warmup noam_decay polynomial"
GOLDEN += " polynomial_power sqrt_decay warmup_longer_than_total"


def sgd(*lrs: float) -> torch.optim.Optimizer:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in lrs or (0.1,)]
    return torch.optim.SGD(groups, lr=0.1, momentum=0.9)


def curve(optimizer: torch.optim.Optimizer, scheduler: torch.optim.lr_scheduler.LRScheduler, steps: int, group: int = 0) -> list[float]:
    """The learning rate of each of the next updates."""
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[group]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("case", GOLDEN.split())
def test_recorded_curves(golden, case: str):
    folder = golden(f"tasks/schedules/{case}")
    params = json.loads((folder / "params.json").read_text())
    optimizer = sgd(params["lr"])
    scheduler = build_scheduler(optimizer, params["total_steps"], params["config"])
    np.testing.assert_allclose(curve(optimizer, scheduler, params["n"]), np.load(folder / "outputs.npz")["lr"], rtol=1e-9, atol=1e-15)


def test_recorded_refusals_have_sentences(golden):
    for case, error, message in (
        ("polynomial_bad_end", ConfigError, "lr_end must be below the learning rate 0.001"),
        ("unknown_name", UnknownNameError, "unknown scheduler 'no_such_schedule'"),
    ):
        params = json.loads((golden(f"tasks/schedules/{case}") / "params.json").read_text())
        with pytest.raises(error, match=message):
            build_scheduler(sgd(params["lr"]), params["total_steps"], params["config"])


@pytest.mark.parametrize("name", WARMED_UP)
@settings(max_examples=25, deadline=None)
@given(warmup=st.integers(0, 12), total=st.integers(1, 12), continuous=st.booleans())
def test_rates_stay_between_zero_and_the_peak(name: str, warmup: int, total: int, continuous: bool):
    extra = {"continuous": continuous} if name.startswith(("sqrt", "noam")) else {}
    optimizer = sgd()
    rates = curve(optimizer, build_scheduler(optimizer, total, {"name": name, "num_warmup_steps": warmup, **extra}), total + 5)
    assert all(0 <= rate <= 0.1 for rate in rates)
    np.testing.assert_allclose(rates[:warmup], [0.1 * step / warmup for step in range(warmup)][: total + 5])


@pytest.mark.parametrize("name", ["sqrt_decay_schedule_with_warmup", "noam_decay_schedule_with_warmup"])
def test_the_jump_can_be_removed(name: str):
    optimizer = sgd()
    rates = curve(optimizer, build_scheduler(optimizer, 50, {"name": name, "num_warmup_steps": 4, "continuous": True}), 40)
    np.testing.assert_allclose(rates[4:], [0.1 * math.sqrt(4 / step) for step in range(4, 40)])


@pytest.mark.parametrize(("name", "factor"), [("sqrt_decay", 1.0), ("noam_decay", 768**-0.5)])
def test_no_warmup_starts_at_the_curve(name: str, factor: float):
    optimizer = sgd()
    rates = curve(optimizer, build_scheduler(optimizer, 50, {"name": f"{name}_schedule_with_warmup", "num_warmup_steps": 0}), 4)
    np.testing.assert_allclose(rates, [0.1 * factor / math.sqrt(max(1, step)) for step in range(4)])


def test_each_group_keeps_its_own_rate():
    optimizer = sgd(0.1, 0.4)
    config = {"name": "polynomial_decay_schedule_with_warmup", "num_warmup_steps": 0, "lr_end": 0.02}
    scheduler = build_scheduler(optimizer, 10, config)
    curve(optimizer, scheduler, 20)
    np.testing.assert_allclose([group["lr"] for group in optimizer.param_groups], [0.02, 0.02])


CASES = [(name, {"name": name, "num_warmup_steps": 3}) for name in WARMED_UP]
CASES += [(name, {"name": "TorchScheduler", "torch_scheduler_name": name, **fields}) for name, fields in TORCH.items()]


@pytest.mark.parametrize("config", [config for _, config in CASES], ids=[name for name, _ in CASES])
def test_state_is_plain_and_resumes_exactly(config: dict):
    optimizer = sgd(0.1, 0.05)
    scheduler = build_scheduler(optimizer, 12, config)
    curve(optimizer, scheduler, 5)
    saved = io.BytesIO()
    torch.save([optimizer.state_dict(), scheduler.state_dict()], saved)
    going_on = [curve(optimizer, scheduler, 3, group=1), curve(optimizer, scheduler, 3)]

    resumed = sgd(0.1, 0.05)
    scheduler = build_scheduler(resumed, 12, config)
    saved.seek(0)
    optimizer_state, scheduler_state = torch.load(saved, weights_only=True)
    scheduler.load_state_dict(scheduler_state)
    resumed.load_state_dict(optimizer_state)
    resumed.step()  # torch warns of a scheduler that moves before any update; momentum and weights are no concern here
    assert [curve(resumed, scheduler, 3, group=1), curve(resumed, scheduler, 3)] == going_on


def test_every_torch_scheduler_is_either_offered_or_refused():
    with pytest.raises(UnknownNameError) as caught:
        build_scheduler(sgd(), 10, {"name": "TorchScheduler", "torch_scheduler_name": "CosineAnealingLR"})
    assert "did you mean 'CosineAnnealingLR'" in str(caught.value)
    assert caught.value.valid == sorted([*TORCH, "ReduceLROnPlateau"])
    for name in ("LambdaLR", "MultiplicativeLR", "SequentialLR", "ChainedScheduler"):
        with pytest.raises(ConfigError, match=f"scheduler TorchScheduler: {name} takes"):
            build_scheduler(sgd(), 10, {"name": "TorchScheduler", "torch_scheduler_name": name})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "scheduler: field 'name' is missing"),
        ({"name": "linear_schedule_with_warmup"}, "scheduler linear_schedule_with_warmup: field 'num_warmup_steps' is missing"),
        ({"name": "linear_schedule_with_warmup", "num_warmup_step": 3}, "did you mean 'num_warmup_steps'.*is missing"),
        ({"name": "linear_schedule_with_warmup", "num_warmup_steps": 3, "num_cycles": 2}, "unknown field 'num_cycles'"),
        ({"name": "linear_schedule_with_warmup", "num_warmup_steps": -3}, "num_warmup_steps must not be negative"),
        ({"name": "linear_schedule_with_warmup", "num_warmup_steps": None}, "num_warmup_steps must be a number, not None"),
        ({"name": "TorchScheduler"}, "field 'torch_scheduler_name' is missing"),
        ({"name": "TorchScheduler", "torch_scheduler_name": "StepLR"}, "step_size"),
        ({"name": "TorchScheduler", "torch_scheduler_name": "StepLR", "stepsize": 2}, "unknown field 'stepsize'; did you mean 'step_size'"),
        ({"name": "TorchScheduler", "torch_scheduler_name": "CosineAnnealingWarmRestarts", "T_0": -1}, "Expected positive integer T_0"),
    ],
)
def test_impossible_configs_are_refused(config: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        build_scheduler(sgd(), 10, config)


def test_an_unknown_scheduler_gets_the_nearest_name():
    with pytest.raises(UnknownNameError, match="did you mean 'cosine_schedule_with_warmup'"):
        build_scheduler(sgd(), 10, {"name": "cosine_schedule_with_warm_up"})
