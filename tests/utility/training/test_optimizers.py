"""Optimizers against S3PRL's recorded weights, their states, and what is refused."""

from __future__ import annotations

import copy
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from utility.errors import ConfigError, UnknownNameError
from utility.training.optimizers import build_optimizer

OURS = ["AdamW", "BertAdam_with_schedule", "AdamW_with_schedule", "Lamb_with_schedule"]
GOLDEN = "adam adamw_custom adamw_with_schedule bertadam_schedule lamb_with_schedule torch_adadelta torch_adam torch_adamw_wd"
GOLDEN += " torch_sgd_momentum"


class Net(nn.Module):
    """The recorded network."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 4)
        self.LayerNorm = nn.LayerNorm(4)
        self.out = nn.Linear(4, 2, bias=False)


def seeded_net(seed: int = 0) -> Net:
    torch.manual_seed(seed)
    return Net()


def set_gradients(net: nn.Module, seed: int, scale: float = 1.0) -> None:
    torch.manual_seed(seed)
    for param in net.parameters():
        param.grad = torch.randn_like(param) * scale


def recorded_net(folder: Path) -> Net:
    net = Net()
    net.load_state_dict(torch.load(folder / "state.pt", weights_only=True))
    return net


@pytest.mark.parametrize("case", GOLDEN.split())
def test_recorded_steps(golden, case: str):
    folder = golden(f"tasks/optim/{case}")
    params, expected = (json.loads((folder / name).read_text()) for name in ("params.json", "outputs.json"))
    inputs, outputs = np.load(folder / "inputs.npz"), np.load(folder / "outputs.npz")
    net = recorded_net(folder)
    optimizer = build_optimizer(params["config"], [net], None, params["total_steps"])
    for step in range(params["n"]):
        for name, param in net.named_parameters():
            param.grad = torch.from_numpy(inputs[f"grad_{step}_{name}"])
        optimizer.step()
        for name, param in net.named_parameters():
            np.testing.assert_allclose(param.detach().numpy(), outputs[f"step{step + 1}_{name}"], rtol=1e-4, atol=1e-6)
            np.testing.assert_array_equal(
                param.grad.numpy(), inputs[f"grad_{step}_{name}"]
            )  # clipping is no business of the gradient's owner
    for group, recorded in zip(optimizer.param_groups, expected["param_groups"], strict=True):
        assert len(group["params"]) == recorded["n_params"]
        for field in ("weight_decay", "lr", "eps", "betas"):
            assert recorded[field] is None or group[field] == (tuple(recorded[field]) if field == "betas" else recorded[field])
    if "schedule" in case:
        assert optimizer.get_lr()[0] == pytest.approx(expected["lr_reported"][0], rel=1e-12)


def test_fields_that_s3prl_swallows_are_honoured():
    config = {"name": "AdamW", "lr": 0.01, "weight_decay": 0.5, "betas": [0.5, 0.6]}
    group = build_optimizer(config, [Net()], None, 10).param_groups[0]
    assert (group["weight_decay"], group["betas"], group["eps"]) == (0.5, (0.5, 0.6), 1e-7)
    group = build_optimizer({"name": "Adam", "weight_decay": "1e-4"}, [Net()], None, 10).param_groups[0]
    assert (group["weight_decay"], group["lr"]) == (1e-4, 2e-4)


def test_own_adamw_without_eps_is_torchs():
    ours, theirs = seeded_net(), seeded_net()
    optimizers = [
        build_optimizer({"name": "AdamW", "lr": 0.01, "eps": 0.0}, [ours], None, 10),
        torch.optim.AdamW(theirs.parameters(), lr=0.01, eps=0.0, weight_decay=0.0),
    ]
    for step in range(5):
        for net, optimizer in zip((ours, theirs), optimizers, strict=True):
            set_gradients(net, step)
            optimizer.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_own_adamw_decays_the_updated_weight():
    weights = [nn.Parameter(torch.tensor([2.0])) for _ in range(2)]
    for weight, decay in zip(weights, (0.0, 0.1), strict=True):
        weight.grad = torch.tensor([3.0])
        build_optimizer({"name": "AdamW", "lr": 0.5, "weight_decay": decay}, None, [{"params": [weight]}], 10).step()
    assert weights[1].item() == pytest.approx(weights[0].item() * (1 - 0.5 * 0.1))


def test_the_first_update_of_bert_adam_is_at_rate_zero_and_the_last_ends_the_schedule():
    for name, moves_first in (("BertAdam_with_schedule", False), ("Lamb_with_schedule", True)):
        net = seeded_net()
        optimizer = build_optimizer({"name": name, "lr": 0.1, "warmup_proportion": 0.5}, [net], None, 4)
        moved = []
        for step in range(5):
            before = copy.deepcopy(net.state_dict())
            set_gradients(net, step)
            optimizer.step()
            moved.append(any(not torch.equal(value, before[name]) for name, value in net.state_dict().items()))
        assert moved == ([True, True, True, False, False] if moves_first else [False, True, True, True, False])


def test_parameters_without_gradient_stay_and_late_ones_catch_up():
    net, alone = seeded_net(), seeded_net()
    optimizer = build_optimizer({"name": "AdamW"}, [net], None, 10)
    for step in range(3):
        set_gradients(net, step)
        if step < 2:
            net.out.weight.grad = None
        optimizer.step()
    assert torch.equal(optimizer.state[net.linear.weight]["step"] * torch.ones(1), torch.tensor([3.0]))
    single = build_optimizer({"name": "AdamW"}, [alone.out], None, 10)
    alone.out.weight.grad = net.out.weight.grad
    single.step()
    assert torch.equal(alone.out.weight, net.out.weight)


def test_the_closure_is_evaluated_with_gradients():
    weight = nn.Parameter(torch.tensor([2.0]))
    optimizer = build_optimizer({"name": "AdamW", "lr": 0.1}, None, [{"params": [weight]}], 10)

    def closure() -> torch.Tensor:
        loss = (weight**2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 4.0
    assert weight.item() == pytest.approx(1.9, abs=1e-4)


@pytest.mark.parametrize("name", [*OURS, "Adam"])
def test_state_is_plain_and_resumes_bit_for_bit(name: str):
    def train(net: Net, optimizer: torch.optim.Optimizer, steps: range) -> None:
        for step in steps:
            set_gradients(net, step)
            optimizer.step()

    net = seeded_net()
    optimizer = build_optimizer({"name": name, "lr": 0.1}, [net], None, 20)
    train(net, optimizer, range(5))
    saved = io.BytesIO()
    torch.save([net.state_dict(), optimizer.state_dict()], saved)
    train(net, optimizer, range(5, 9))

    saved.seek(0)
    weights, state = torch.load(saved, weights_only=True)
    resumed = seeded_net(1)
    resumed.load_state_dict(weights)
    optimizer = build_optimizer({"name": name, "lr": 0.1}, [resumed], None, 20)
    optimizer.load_state_dict(state)
    train(resumed, optimizer, range(5, 9))
    for a, b in zip(net.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", OURS[1:])
def test_states_that_s3prl_saved_load(name: str):
    net = seeded_net()
    optimizer = build_optimizer({"name": name, "lr": 0.1}, [net], None, 20)
    set_gradients(net, 0)
    optimizer.step()
    saved = copy.deepcopy(optimizer.state_dict())
    moments = ("next_m", "next_v") if name.startswith("Bert") else ("exp_avg", "exp_avg_sq")
    extra = {} if name.startswith("Bert") else {"trust_ratio": 1.0, "weight_norm": torch.ones(())}
    foreign = {
        "state": {
            key: {"step": entry["step"], moments[0]: entry["exp_avg"], moments[1]: entry["exp_avg_sq"], **extra}
            for key, entry in saved["state"].items()
        },
        "param_groups": [
            {"lr": group["lr"], "schedule": object(), "betas": group["betas"], "e": group["eps"], "weight_decay": group["weight_decay"]}
            | {"params": group["params"]}
            for group in saved["param_groups"]
        ],
    }
    fresh = build_optimizer({"name": name, "lr": 0.1}, [net], None, 20)
    fresh.load_state_dict(foreign)
    assert fresh.state_dict()["param_groups"] == saved["param_groups"]
    for entry, expected in zip(fresh.state_dict()["state"].values(), saved["state"].values(), strict=True):
        assert entry.keys() == expected.keys()
        torch.testing.assert_close(entry, expected, rtol=0, atol=0)


def test_the_state_of_another_optimizer_is_refused():
    net = seeded_net()
    other = build_optimizer({"name": "TorchOptim", "torch_optim_name": "SGD", "momentum": 0.9}, [net], None, 10)
    set_gradients(net, 0)
    other.step()
    with pytest.raises(ValueError, match="not one of AdamW"):
        build_optimizer({"name": "AdamW"}, [net], None, 10).load_state_dict(other.state_dict())


def test_ready_groups_keep_their_own_fields():
    net = Net()
    groups = [{"params": net.linear.parameters(), "lr": 0.5, "weight_decay": 0.3}, {"params": net.out.parameters()}]
    for name in [*OURS, "Adam"]:
        first, second = build_optimizer({"name": name, "lr": 0.1}, [net], copy.copy(groups), 10).param_groups
        assert (first["lr"], first["weight_decay"], second["lr"]) == (0.5, 0.3, 0.1)
        groups = [{**group, "params": list(net.linear.parameters() if "lr" in group else net.out.parameters())} for group in groups]


def test_modules_in_order_and_a_shared_parameter_once():
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    second.weight = first.weight
    (group,) = build_optimizer({"name": "Adam"}, [first, second], None, 10).param_groups
    assert [id(param) for param in group["params"]] == [id(first.weight), id(first.bias), id(second.bias)]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"lr": 1.0}, "optimizer: field 'name' is missing"),
        ({"name": "AdamW", "weight_dacay": 0.1}, "optimizer AdamW: unknown field 'weight_dacay'; did you mean 'weight_decay'"),
        ({"name": "AdamW", "total_steps": 3}, "unknown field 'total_steps'"),
        ({"name": "AdamW", "lr": -1}, "optimizer AdamW: lr must not be -1"),
        ({"name": "AdamW", "betas": [0.9, 1.0]}, "betas must not be"),
        ({"name": "AdamW", "lr": "fast"}, "optimizer AdamW: "),
        ({"name": "Adam", "lr": -1}, "optimizer Adam: Invalid learning rate"),
        ({"name": "BertAdam_with_schedule", "adam": True}, "unknown field 'adam'"),
        ({"name": "Lamb_with_schedule", "adam": True}, "unknown field 'adam'"),
        ({"name": "Lamb_with_schedule", "warmup_proportion": 1.0}, "warmup_proportion must be a number from 0 to below 1"),
        ({"name": "TorchOptim", "lr": 1.0}, "field 'torch_optim_name' is missing"),
        ({"name": "TorchOptim", "torch_optim_name": "SGD", "momentun": 0.9}, "torch.optim.SGD: unknown field 'momentun'.*'momentum'"),
        ({"name": "TorchOptim", "torch_optim_name": "LBFGS"}, "LBFGS evaluates the loss several times"),
        ({"name": "TorchOptim", "torch_optim_name": "SparseAdam"}, "SparseAdam takes sparse gradients"),
        ({"name": "TorchOptim", "torch_optim_name": "Muon"}, "torch.optim.Muon: "),
    ],
)
def test_impossible_configs_are_refused(config: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        build_optimizer(config, [Net()], None, 10)


def test_unknown_names_get_the_nearest():
    with pytest.raises(UnknownNameError, match="unknown optimizer 'Adamw'; did you mean 'AdamW'"):
        build_optimizer({"name": "Adamw"}, [Net()], None, 10)
    with pytest.raises(UnknownNameError, match=r"unknown class of torch\.optim 'RMSProp'; did you mean 'RMSprop'"):
        build_optimizer({"name": "TorchOptim", "torch_optim_name": "RMSProp"}, [Net()], None, 10)


def test_nothing_to_train_is_refused():
    for modules, groups in (([], None), ([nn.ReLU()], None), ([Net()], [{"params": []}])):
        with pytest.raises(ConfigError, match="no parameter to train"):
            build_optimizer({"name": "Adam"}, modules, groups, 10)
