"""SampleRNN against recorded logits of the public code, and what its steps have to do."""

from __future__ import annotations

import pytest
import torch

from downstream.audio_generation.models.build import build
from downstream.audio_generation.models.weight_norm import NormedWeight, folded
from tests.downstream.audio_generation.stepping import forward, recorded, same_names, stepped
from utility.errors import ConfigError, UnknownNameError

CASES = {
    "tier3_822": {"d_hidden": 16, "d_model": 8},
    "tier2_164": {"d_hidden": 12, "d_model": 6, "frame_sizes": [16, 4], "n_rnn": 2, "quantization": "linear"},
}


@pytest.fixture(autouse=True)
def fixed_seed():
    torch.manual_seed(0)


def small(**fields):
    return build({"_name_": "samplernn", "d_hidden": 8, "d_model": 4, "frame_sizes": [4, 2, 3], **fields}).double().eval()


@pytest.mark.parametrize("name", CASES)
def test_recorded_logits(golden, name):
    weights, arrays = recorded(golden(f"generation/samplernn/{name}"))
    model = build({"_name_": "samplernn", **CASES[name]}).eval()
    model.load_state_dict(weights)
    torch.testing.assert_close(forward(model, arrays["ids"]), arrays["logits"], rtol=1e-3, atol=2e-4)
    torch.testing.assert_close(stepped(model.stepper(2), arrays["ids"]), arrays["logits"], rtol=1e-3, atol=2e-4)
    model.double()
    torch.testing.assert_close(forward(model, arrays["ids"]), arrays["logits"].double(), rtol=2e-6, atol=1e-6)
    torch.testing.assert_close(stepped(model.stepper(2, "plain"), arrays["ids"]), arrays["logits"].double(), rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize(("fields", "count"), [({}, 35_034_624), ({"frame_sizes": [16, 4], "n_rnn": 2}, 51_848_704)])
def test_published_sizes(golden, fields, count):
    model = build({"_name_": "samplernn", **fields})
    assert sum(p.numel() for p in model.parameters()) == count
    if not fields:
        same_names(model, golden("generation/counts"), "samplernn-sc09")


@pytest.mark.parametrize("mode", [None, "plain"])
@pytest.mark.parametrize(("batch", "fields"), [(1, {}), (3, {}), (1, {"frame_sizes": [5]}), (2, {"n_rnn": 2, "weight_norm": False})])
def test_steps_equal_the_forward_pass(mode, batch, fields):
    model = small(**fields)
    with torch.no_grad():
        for weight in model.parameters():  # biases and initial states too
            weight.add_(0.1 * torch.randn_like(weight))
    ids = torch.randint(256, (batch, 100))
    stepper = model.stepper(batch, mode)
    wanted = forward(model, ids)
    torch.testing.assert_close(stepped(stepper, ids), wanted, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(stepped(stepper, ids), wanted, rtol=1e-8, atol=1e-9)  # after a reset


@pytest.mark.slow
def test_sixteen_thousand_steps():
    model = small().float()
    ids = torch.randint(256, (1, 16000))
    torch.testing.assert_close(stepped(model.stepper(1), ids), forward(model, ids), rtol=1e-3, atol=1e-4)


def test_chunks_with_a_carried_state_equal_the_whole():
    model = small()
    codes = torch.randint(256, (2, model.warm_up + 96))
    whole, _ = model(codes)
    first, state = model(codes[:, : model.warm_up + 48])
    second, _ = model(codes[:, 48:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)


def test_a_length_between_two_frames():
    model = small()
    ids = torch.randint(256, (2, 53))
    torch.testing.assert_close(forward(model, ids[:, :41]), forward(model, ids)[:, :41])


def test_future_codes_change_nothing():
    model = small()
    ids = torch.randint(256, (1, 72))
    changed = ids.clone()
    changed[:, 30] = (ids[:, 30] + 100) % 256
    before, after = forward(model, ids), forward(model, changed)
    assert torch.equal(before[:, :30], after[:, :30])
    assert not torch.equal(before[:, 30:], after[:, 30:])


def test_a_stepper_keeps_the_weights_that_it_was_made_of():
    model = small()
    stepper, ids = model.stepper(1), torch.randint(256, (1, 24))
    wanted = forward(model, ids)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1.5)
    torch.testing.assert_close(stepped(stepper, ids), wanted)


def test_every_weight_is_trained():
    model = small()
    model(torch.randint(256, (2, model.warm_up + 48)))[0].square().mean().backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()] == []


def test_initial_states_that_are_not_learned():
    assert not any(p.requires_grad for name, p in small(learn_h0=False).named_parameters() if name.endswith("h0"))


def test_folded_weights():
    layer = NormedWeight((3, 2, 4), None, torch.nn.init.normal_)
    layer.weight_g.data.mul_(2)
    assert set(folded(layer).state_dict()) == {"weight"}
    torch.testing.assert_close(folded(layer).value(), layer.value())
    torch.testing.assert_close(layer.value().flatten(1).norm(dim=1), layer.weight_g.flatten())


@pytest.mark.parametrize(
    ("fields", "error", "sentence"),
    [
        ({"frame_size": [8]}, ConfigError, "did you mean 'frame_sizes'"),
        ({"d_hidden": 0, "n_rnn": "two"}, ConfigError, "d_hidden must be a whole number of at least 1.*n_rnn must be"),
        ({"frame_sizes": []}, ConfigError, "frame_sizes must name at least one"),
        ({"quantization": "mulaw"}, UnknownNameError, "did you mean 'mu-law'"),
    ],
)
def test_wrong_fields(fields, error, sentence):
    with pytest.raises(error, match=sentence):
        small(**fields)


def test_unknown_mode():
    with pytest.raises(UnknownNameError, match="did you mean 'plain'"):
        small().stepper(1, "plane")
