"""SaShiMi step by step: equal to the whole sequence in every mode, safe over long times, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from downstream.audio_generation.models.build import build, predictor
from downstream.audio_generation.models.s4_layer import S4Block
from downstream.audio_generation.models.sashimi import Sashimi
from downstream.audio_generation.models.sashimi_step import CompiledStepper, PlainSteps
from downstream.audio_generation.quantise import Quantiser
from tests.downstream.audio_generation.stepping import forward, stepped
from utility.errors import ConfigError, DataError, UnknownNameError

MODELS = {
    "sashimi": {"_name_": "sashimi", "d_model": 8, "n_layers": 1, "pool": [2, 3]},
    "three blocks, shared A": {"_name_": "sashimi", "d_model": 4, "n_layers": 3, "pool": [4], "layer": {"n_ssm": 2, "d_state": 8}},
    "diagonal": {"_name_": "sashimi", "d_model": 8, "n_layers": 1, "pool": [2], "layer": {"_name_": "s4d", "d_state": 8}},
    "rank 2": {"_name_": "sashimi", "d_model": 6, "n_layers": 1, "pool": [2], "layer": {"init": "legt", "rank": 2, "d_state": 8}},
    "no GLU": {"_name_": "sashimi", "d_model": 8, "n_layers": 1, "pool": [2], "layer": {"final_act": "id", "d_state": 8}},
    "no linear": {"_name_": "sashimi", "d_model": 8, "n_layers": 1, "pool": [2], "layer": {"final_act": None, "d_state": 8}},
    "unet": {"_name_": "unet", "d_model": 4, "n_layers": 2, "pool": [2, 2], "cff": 3, "layer": {"n_ssm": None, "d_state": 8}},
    "alone": {"_name_": "sashimi_standalone", "d_model": 4, "n_layers": 3, "pool": [2], "unet": True, "d_state": 8},
}


@pytest.fixture(autouse=True)
def fixed_seed():
    torch.manual_seed(0)


def trained(config):
    """A model none of whose weights is at its first value."""
    model = build(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return model


@pytest.mark.parametrize("batch", [1, 3, 19])
@pytest.mark.parametrize("name", MODELS)
def test_compiled_steps_equal_the_whole_sequence(name, batch):
    model = trained(MODELS[name])
    ids = torch.randint(256, (batch, 96))
    wanted = forward(model, ids)
    stepper = model.stepper(batch)
    assert isinstance(stepper, CompiledStepper)
    torch.testing.assert_close(stepped(stepper, ids), wanted, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(stepped(stepper, ids), wanted, rtol=1e-3, atol=1e-4)  # after a reset


@pytest.mark.parametrize("mode", ["dense", "diagonal", "linear"])
@pytest.mark.parametrize("name", MODELS)
def test_plain_steps_equal_the_whole_sequence(name, mode):
    model = trained(MODELS[name]).double()
    ids = torch.randint(256, (2, 24))
    torch.testing.assert_close(stepped(model.stepper(2, mode), ids), forward(model, ids), rtol=1e-8, atol=1e-9)


def test_what_is_not_float32_steps_by_the_modules():
    assert isinstance(trained(MODELS["sashimi"]).double().stepper(1), PlainSteps)
    odd = {**MODELS["sashimi"], "layer": {"activation": "silu", "d_state": 8}}
    model = trained(odd)
    ids = torch.randint(256, (1, 12))
    stepper = model.stepper(1)
    assert isinstance(stepper, PlainSteps)
    torch.testing.assert_close(stepped(stepper, ids), forward(model, ids), rtol=1e-3, atol=1e-4)


def test_logits_stay_after_the_next_step():
    stepper = trained(MODELS["sashimi"]).stepper(1)
    first = stepper.step(torch.tensor([3]))
    kept = first.clone()
    stepper.step(torch.tensor([200]))
    assert torch.equal(first, kept)


@pytest.mark.parametrize("codes", [[1, 2], [256], [-1]])
def test_codes_that_do_not_exist(codes):
    with pytest.raises(DataError, match="wants 1 codes of 0 to 255"):
        trained(MODELS["sashimi"]).stepper(1).step(torch.tensor(codes))


def test_unknown_mode():
    with pytest.raises(UnknownNameError, match="did you mean 'diagonal'"):
        trained(MODELS["sashimi"]).stepper(1, "diagnal")


@pytest.mark.parametrize(
    "config", [{**MODELS["sashimi"], "layer": {"bidirectional": True}}, {"_name_": "sashimi_standalone", "bidirectional": True}]
)
def test_networks_that_look_ahead_predict_no_codes(config):
    with pytest.raises(ConfigError, match=r"bidirectional is true: a network that predicts .* cannot look ahead"):
        predictor(config, Quantiser())


def test_bidirectional_models_do_not_step():
    with pytest.raises(ConfigError, match="bidirectional"):
        Sashimi(d_model=4, n_layers=1, pool=[2], d_state=8, bidirectional=True).setup_rnn()


def test_setting_up_again_after_training_and_beside_the_convolution():
    sashimi = Sashimi(d_model=4, n_layers=1, pool=[2], d_state=8).eval()
    x = torch.randn(2, 8, 4)
    with torch.no_grad():
        before = sashimi(x)
        sashimi.setup_rnn("diagonal")
        assert torch.equal(sashimi(x), before)
        for weight in sashimi.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
        sashimi.setup_rnn("diagonal")
        state, outputs = sashimi.default_state(2), []
        for moment in x.unbind(1):
            y, state = sashimi.step(moment, state)
            outputs.append(y)
        torch.testing.assert_close(torch.stack(outputs, 1), sashimi(x), rtol=1e-3, atol=1e-4)


def test_a_step_leaves_the_given_state_alone():
    sashimi = Sashimi(d_model=4, n_layers=1, pool=[2], d_state=8).eval()
    with torch.no_grad():
        sashimi.setup_rnn()
        x, start = torch.randn(3, 1, 4), sashimi.default_state(1)
        _, middle = sashimi.step(x[0], start)
        one, _ = sashimi.step(x[1], middle)
        sashimi.step(x[2], middle)
        again, _ = sashimi.step(x[1], middle)
    assert torch.equal(one, again)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layer", "mode"),
    [({"n_ssm": 1}, "dense"), ({"n_ssm": 1}, "linear"), ({"init": "dplr-lin"}, "diagonal"), ({"mode": "diag"}, None)],
)
def test_a_layer_over_16000_steps(layer, mode):
    block = S4Block(2, transposed=False, **layer).double().eval()
    x = torch.randn(1, 16000, 2).double()
    with torch.no_grad():
        wanted, outputs = block(x)[0], []
        block.setup_step(mode)
        state = block.default_state(1)
        for moment in x.unbind(1):
            y, state = block.step(moment, state)
            outputs.append(y)
    found = torch.stack(outputs, 1)
    assert (found - wanted).abs().max() < 1e-8 * wanted.abs().max()


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_compiled_models_over_16000_steps(name):
    model = trained(MODELS[name])
    ids = torch.randint(256, (1, 16000 - 16000 % 6))
    wanted = forward(model, ids)
    assert (stepped(model.stepper(1), ids) - wanted).abs().max() < 1e-3 * wanted.abs().max()


@pytest.mark.slow
def test_plain_model_over_16000_steps():
    model = trained({"_name_": "sashimi", "d_model": 2, "n_layers": 1, "pool": [4], "layer": {"d_state": 8}}).double()
    ids = torch.randint(256, (1, 16000))
    wanted = forward(model, ids)
    assert (stepped(model.stepper(1, "linear"), ids) - wanted).abs().max() < 1e-8 * wanted.abs().max()


@pytest.mark.slow
@pytest.mark.parametrize("layer", [{"n_ssm": 1}, {"mode": "diag"}])
@pytest.mark.parametrize(("kind", "tolerance", "dt"), [(np.float32, 1e-3, 1e-3), (np.float64, 1e-8, 1e-4)])
def test_a_state_after_4_800_000_steps(layer, kind, tolerance, dt):
    """Against the sum of a geometric series, for a constant input.

    The step sizes are the smallest that the recipes begin with, and a tenth of it. A float32 state comes to rest where what is added in
    a step is below half a unit of its last place, in the mean some 3e-8 / (Δ/2) of the state too early.
    """
    from downstream.audio_generation.models.state_kernels import state_numbers, state_space
    from downstream.audio_generation.models.step_program import coefficients

    count = 4_800_000
    kernel = S4Block(1, **layer, dt_min=dt, dt_max=dt).layer.kernel
    step = kernel.recurrence("linear")
    rows = coefficients(step).numpy().astype(kind).reshape(-1)
    states, rank = step.a_bar.shape[1], len(step.left)
    state, x, out, d = np.zeros(state_numbers(1, states, rank, 1), kind), np.ones(1, kind), np.zeros(1, kind), np.zeros(1, kind)
    for _ in range(count):
        state_space(x, out, 1, states, rank, rows, state, d, 1)
    dense = kernel.recurrence("dense") if rank else None
    matrix = dense.a_bar[0] if rank else torch.diag(step.a_bar[0])
    begin = dense.b_bar[0] if rank else step.b_bar[0]
    power = torch.linalg.matrix_power(matrix, count)
    eye = torch.eye(len(matrix), dtype=matrix.dtype)
    wanted = torch.linalg.solve(eye - matrix, (eye - power) @ begin)[:states].numpy()
    found = state[:states] + 1j * state[states : 2 * states]
    assert np.abs(found - wanted).max() < tolerance * np.abs(wanted).max()


@pytest.mark.slow
def test_no_drift_in_30_seconds():
    """A periodic input gives a periodic output, from the second second to the thirtieth."""
    model = trained({"_name_": "sashimi", "d_model": 8, "n_layers": 1, "pool": [4, 4]})
    stepper, period = model.stepper(1), torch.randint(256, (160, 1))
    seconds = {}
    for moment in range(30 * 16000):
        logits = stepper.step(period[moment % 160])
        if moment % 16000 < 160:
            seconds.setdefault(moment // 16000, []).append(logits)
    early, late = (torch.stack(seconds[second]) for second in (5, 29))
    assert (early - late).abs().max() < 1e-3 * early.abs().max()
