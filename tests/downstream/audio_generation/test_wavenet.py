"""WaveNet against recorded logits of the public code, and what its steps have to do."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from downstream.audio_generation.models.build import build
from downstream.audio_generation.models.loops import gated
from tests.downstream.audio_generation.stepping import ZERO, forward, recorded, same_names, stepped
from utility.errors import ConfigError, UnknownNameError

WIDTHS = {"dilation_channels": 6, "residual_channels": 8, "skip_channels": 10, "end_channels": 12}
CLOSE = {"rtol": 1e-3, "atol": 2e-4}
EXACT = {"rtol": 2e-6, "atol": 1e-6}


@pytest.fixture(autouse=True)
def fixed_seed():
    torch.manual_seed(0)


def small(**fields):
    return build({"_name_": "wavenet", "layers": 3, "blocks": 2, **WIDTHS, **fields}).eval()


@pytest.fixture
def case(golden):
    weights, arrays = recorded(golden("generation/wavenet/l3b2"))
    model = small()
    model.load_state_dict(weights)
    return model, arrays


def cold(stepper, ids):
    stepper.reset()
    return torch.stack([stepper.step(codes) for codes in ids.T], 1)


def test_recorded_logits(case):
    model, arrays = case
    ids, wanted = arrays["ids"], arrays["logits"]
    torch.testing.assert_close(forward(model, ids), wanted, **CLOSE)
    torch.testing.assert_close(stepped(model.stepper(2), ids), wanted, **CLOSE)
    torch.testing.assert_close(stepped(model.stepper(1, "fused"), ids[1:]), wanted[1:], **CLOSE)
    model.double()
    torch.testing.assert_close(forward(model, ids), wanted.double(), **EXACT)
    torch.testing.assert_close(stepped(model.stepper(2), ids), wanted.double(), **EXACT)


def test_recorded_logits_from_empty_queues(case):
    model, arrays = case
    torch.testing.assert_close(cold(model.stepper(1), arrays["ids"][:1]), arrays["step_cold"][:1], **CLOSE)
    torch.testing.assert_close(cold(model.double().stepper(2), arrays["ids"]), arrays["step_cold"].double(), **EXACT)


@pytest.mark.parametrize(("fields", "count"), [({}, 4_244_480), ({"skip_channels": 512}, 2_671_616)])
def test_published_sizes(golden, fields, count):
    model = build({"_name_": "wavenet", **fields})
    assert sum(p.numel() for p in model.parameters()) == count
    assert model.warm_up == 4093
    if not fields:
        same_names(model, golden("generation/counts"), "wavenet-sc09")


@pytest.mark.parametrize("fields", [{}, {"bias": True}, {"kernel_size": 3, "blocks": 1}, {"kernel_size": 1}])
def test_steps_equal_the_forward_pass(fields):
    model = small(**fields).double()
    ids = torch.randint(256, (3, 60))
    torch.testing.assert_close(stepped(model.stepper(3), ids), forward(model, ids), rtol=1e-8, atol=1e-9)
    model.float()
    wanted = forward(model, ids)
    for batch in (1, 3):
        fused = model.stepper(batch, "fused")
        for _ in range(2):  # again after a reset
            torch.testing.assert_close(stepped(fused, ids[:batch]), wanted[:batch], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("fields", [{}, {"kernel_size": 3, "bias": True}, {"kernel_size": 1}])
def test_a_warm_start_equals_the_steps_of_the_warm_up(batch, fields):
    stepper = small(**fields).stepper(batch)
    ids = torch.randint(256, (batch, 40))
    wanted = stepped(stepper, ids)
    stepper.warm()
    torch.testing.assert_close(torch.stack([stepper.step(codes) for codes in ids.T], 1), wanted)


@pytest.mark.slow
def test_sixteen_thousand_steps():
    model = small(layers=6)
    ids = torch.randint(256, (1, 16000))
    wanted = forward(model, ids)
    torch.testing.assert_close(stepped(model.stepper(1), ids), wanted, rtol=1e-3, atol=1e-5)
    model = small(blocks=1).double()
    torch.testing.assert_close(stepped(model.stepper(1), ids), forward(model, ids), rtol=1e-8, atol=1e-9)


def test_what_a_result_depends_on():
    model = small()
    ids = torch.randint(256, (1, 60))
    changed = ids.clone()
    changed[:, 20] = (ids[:, 20] + 100) % 256
    moved = (forward(model, ids) != forward(model, changed)).any(-1)[0].nonzero().flatten()
    assert moved.min() == 20 and moved.max() == 20 + model.model.receptive_field - 1


def test_every_weight_is_trained_but_the_last_residual():
    model = small(bias=True)
    model(torch.randint(256, (2, model.warm_up + 20)))[0].square().mean().backward()
    assert {name for name, p in model.named_parameters() if p.grad is None} == {
        "model.residual_convs.5.weight",
        "model.residual_convs.5.bias",
    }


def test_gates_of_extreme_values():
    both = np.concatenate([np.linspace(-200, 200, 801), np.tile([-200, -3, 0, 3, 200], 161)[:801]]).astype(np.float32)
    out = np.empty(801, np.float32)
    gated(both, out)
    value, gate = both.astype(np.float64).reshape(2, -1)
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(out, np.tanh(value) / (1 + np.exp(-gate)), rtol=1e-5, atol=1e-7)


def test_the_zero_token_is_what_warms_up():
    stepper = small().stepper(1)
    stepper.warm()
    first = stepper.step(torch.tensor([ZERO]))
    torch.testing.assert_close(stepper.step(torch.tensor([ZERO])), first)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"dilation_channel": 4, "skip": 2}, "did you mean 'dilation_channels'.*'skip'"),
        ({"layers": 0}, "layers must be a whole number from 1 to 24"),
    ],
)
def test_wrong_fields(fields, sentence):
    with pytest.raises(ConfigError, match=sentence):
        small(**fields)


def test_compiled_loops_are_single_precision():
    with pytest.raises(UnknownNameError, match=r"mode of WaveNet's steps 'fused'.*valid: plain"):
        small().double().stepper(2, "fused")
