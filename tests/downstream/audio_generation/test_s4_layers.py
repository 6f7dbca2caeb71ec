"""Properties of the kernels and layers of S4 and S4D: stability, causality, gradients, memory, refusals."""

from __future__ import annotations

import pytest
import torch

from downstream.audio_generation.models import cauchy
from downstream.audio_generation.models.build import build
from downstream.audio_generation.models.recurrence import EigenStep, HalfStep
from downstream.audio_generation.models.s4_kernel import S4Kernel
from downstream.audio_generation.models.s4_layer import MinimalS4d, S4Block
from downstream.audio_generation.models.s4d_kernel import S4dKernel
from downstream.audio_generation.models.sashimi import Sashimi
from utility.errors import ConfigError, DataError, UnknownNameError
from utility.features.threads import use_threads


@pytest.fixture(autouse=True)
def fixed_seed():
    torch.manual_seed(0)


def sums_by_definition(v, poles, length):
    omega = torch.exp(-2j * torch.pi * torch.arange(length // 2 + 1).double() / length)
    z = 2 * (1 - omega) / (1 + omega)
    return (v[..., None] / (z - poles[..., None]) + v.conj()[..., None] / (z - poles.conj()[..., None])).sum(-2)


def example(pairs=3, heads=5, poles=4):
    v = torch.randn(pairs, heads, poles, dtype=torch.complex128)
    return v, torch.complex(-torch.rand(heads, poles).double() - 0.1, torch.randn(heads, poles).double())


@pytest.mark.parametrize("length", [13, 700])
def test_sums_over_poles(length):
    v, poles = example()
    cosine, sine = cauchy.half_angles(length, poles.real)
    found = cauchy.cauchy(v, poles, cosine, sine) * cosine
    wanted = sums_by_definition(v, poles, length)
    torch.testing.assert_close(found[..., : (length + 1) // 2], wanted[..., : (length + 1) // 2], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("length", [5, 6])
def test_gradients_of_the_sums(length):
    v, poles = example(2, 3, 2)
    angles = cauchy.half_angles(length, poles.real)
    assert torch.autograd.gradcheck(lambda a, b: cauchy.cauchy(a, b, *angles), (v.requires_grad_(), poles.requires_grad_()))


@pytest.mark.parametrize("block", [1, 700, 1 << 24])
def test_loops_and_products_of_matrices_agree(monkeypatch, block):
    """The former are for CPUs, the latter for GPUs."""
    monkeypatch.setattr(cauchy, "BLOCK", block)
    numerators, modulus, damping = torch.randn(3, 4, 5).double(), torch.rand(3, 5).double() + 0.1, -torch.rand(3, 5).double() - 0.01
    angles, gradient = cauchy.half_angles(700, modulus), torch.randn(2, 3, 351, 2).double()
    results = []
    for sums, gradients in ((cauchy._looped, cauchy._looped), (cauchy._sums, cauchy._gradients)):
        out, made = torch.empty_like(gradient), [torch.zeros_like(tensor) for tensor in (numerators, modulus, damping)]
        sums("sums", numerators, modulus, damping, *angles, out)
        gradients("gradients", numerators, modulus, damping, *angles, gradient, *made)
        results.append([out, *made])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_results_do_not_depend_on_the_number_of_threads():
    kernel, found = S4Kernel(5, d_state=8), []
    kernel.tune(100)
    try:
        for count in (1, 3):
            use_threads(count)
            kernel.zero_grad()
            made, _ = kernel(100)
            made.square().sum().backward()
            found.append([made.detach(), *(parameter.grad.clone() for parameter in kernel.parameters())])
    finally:
        use_threads(None)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.parametrize("kernel", [S4Kernel, S4dKernel])
def test_nothing_of_the_size_of_all_poles_at_all_times_is_kept(kernel):
    length, made = 4096, kernel(8, d_state=64)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.numel()) or tensor, lambda tensor: tensor):
        made(length)[0].sum().backward()
    assert kept and max(kept) < 8 * 32 * length / 4
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in made.parameters())


@pytest.mark.parametrize("length", [2, 7, 64, 4096])
@pytest.mark.parametrize("init", ["legs", "fourier", "hippo"])
def test_kernels_are_finite_everywhere(init, length):
    kernel = S4Kernel(4, init=init, n_ssm=2, dt_min=1e-5, dt_max=1.0)
    assert kernel(length)[0].isfinite().all()


@pytest.mark.parametrize("init", ["legs", "fourier", "dplr-lin"])
def test_the_recurrence_is_a_contraction(init):
    """So that nothing can explode in a generation without end."""
    kernel = S4Kernel(4, init=init, n_ssm=1, dt_max=1.0)
    with torch.no_grad():
        kernel.P.mul_(5)
    assert torch.linalg.matrix_norm(kernel.recurrence().a_bar, ord=2).max() < 1


@pytest.mark.parametrize("kernel", [S4Kernel(3, init="legs"), S4dKernel(3), S4dKernel(3, disc="bilinear", init="diag-inv")])
@pytest.mark.parametrize("mode", ["dense", "diagonal", "linear"])
def test_the_kernel_is_the_response_to_an_impulse(kernel, mode):
    kernel = kernel.double()
    length = 100
    with torch.no_grad():
        found, _ = kernel(length)
        step = kernel.recurrence(mode)
        state, outputs = step.zeros(1), []
        for moment in range(length):
            y, state = step.step(torch.full((1, 3), float(moment == 0), dtype=torch.float64), state)
            outputs.append(y[0])
    torch.testing.assert_close(torch.stack(outputs, -1), found, rtol=1e-8, atol=1e-12)


def test_ill_conditioned_eigenvectors_are_not_used():
    """Those of HiPPO's A are; the way without eigenvectors is as quick."""
    assert isinstance(S4Kernel(2, init="legs").recurrence("diagonal"), HalfStep)
    assert isinstance(S4Kernel(2, init="dplr-lin").recurrence("diagonal"), EigenStep)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("fields", [{"mode": "dplr"}, {"mode": "diag"}, {"mode": "dplr", "bidirectional": True}])
def test_half_precision_ends_where_the_convolution_begins(fields, kind, monkeypatch):
    """A kernel in bf16 is some percent off, in fp16 it is no number; generation has it in float32."""
    of_gpus = {"sums": cauchy._sums, "gradients": cauchy._gradients}
    monkeypatch.setattr(cauchy, "_looped", lambda name, *given: of_gpus[name](name, *given))
    layer, x, found = S4Block(4, **fields).layer, torch.randn(2, 4, 64).to(kind), []
    for given, enabled in ((x.float(), False), (x, True)):
        layer.zero_grad()
        with torch.autocast("cpu", dtype=kind, enabled=enabled):
            y, _ = layer(given)
        y.square().sum().backward()
        found.append([y, *(weight.grad.clone() for weight in layer.parameters())])
    for full, half in zip(*found, strict=True):
        assert torch.equal(full, half)


def test_half_precision_of_the_smallest_layer():
    layer, x = MinimalS4d(4), torch.randn(2, 4, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = layer(x.bfloat16())[0]
    assert half.dtype == torch.bfloat16  # of the last product
    torch.testing.assert_close(half.float(), layer(x)[0], rtol=0.05, atol=0.02)


@pytest.mark.parametrize("cut", [25, 23, 2])  # the state goes on in blocks of about the root, and what is left over
@pytest.mark.parametrize("mode", ["dplr", "diag"])
def test_a_sequence_in_two_parts(mode, cut):
    block = S4Block(4, d_state=8, transposed=False, mode=mode).double().eval()
    x = torch.randn(2, 60, 4).double()
    with torch.no_grad():
        whole, _ = block(x)
        start = torch.zeros(2, 4, 4, dtype=torch.complex128)
        first, state = block(x[:, :cut], state=start)
        second, _ = block(x[:, cut:], state=state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole, rtol=1e-9, atol=1e-10)


def test_the_past_does_not_know_the_future():
    sashimi = Sashimi(d_model=4, n_layers=2, pool=[2, 2], unet=True, d_state=8).double().eval()
    x = torch.randn(1, 32, 4).double()
    changed = x.clone()
    changed[:, 13] += torch.randn(4)
    with torch.no_grad():
        before, after = sashimi(x), sashimi(changed)
    torch.testing.assert_close(after[:, :13], before[:, :13], rtol=0, atol=1e-12)
    assert (after[:, 13] - before[:, 13]).abs().max() > 1e-3


def test_the_kernel_from_the_end_leaves_out_the_present():
    block = S4Block(2, d_state=8, bidirectional=True, transposed=True, final_act=None, activation=None).double().eval()
    with torch.no_grad():
        block.layer.D.zero_()
        block.layer.kernel.C[0].zero_()  # leaves the kernel from the end
        x = torch.zeros(1, 2, 20).double()
        x[..., 10] = 1
        y, _ = block(x)
    assert y[..., 10:].abs().max() < 1e-12 < 1e-3 < y[..., 9].abs().min()


def test_dropout_is_applied_in_training_only():
    block = S4Block(4, d_state=8, dropout=0.5, transposed=False)
    x = torch.randn(1, 16, 4)
    assert not torch.equal(block(x)[0], block(x)[0])
    block.eval()
    assert torch.equal(block(x)[0], block(x)[0])


def test_a_frozen_tensor_is_a_buffer():
    kernel = S4Kernel(2, d_state=4, lr={"dt": 0.0, "A": 0.01, "B": None}, wd=0.1)
    assert {name for name, _ in kernel.named_parameters()} == {"C", "B", "A_real", "A_imag", "P"}
    assert kernel.A_real._optim == {"lr": 0.01, "weight_decay": 0.1}
    assert not hasattr(kernel.B, "_optim") and not hasattr(kernel.C, "_optim")


def test_biases_and_norms_do_not_decay():
    model = build({"_name_": "sashimi", "d_model": 4, "n_layers": 1, "pool": [2]}).model
    free = {name for name, parameter in model.named_parameters() if getattr(parameter, "_optim", {}).get("weight_decay") == 0.0}
    assert {"norm.weight", "norm.bias", "d_layers.0.linear.bias", "c_layers.0.norm.norm.m"} <= free
    assert not {"d_layers.0.linear.weight_v", "c_layers.0.layer.layer.kernel.C", "c_layers.0.layer.layer.D"} & free


def test_lengths_that_pools_cannot_divide():
    with pytest.raises(DataError, match="30 moments cannot be pooled by 4"):
        Sashimi(d_model=4, n_layers=1, d_state=8)(torch.zeros(1, 30, 4))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"n_layer": 2, "pol": [4]}, "unknown field 'n_layer'.*unknown field 'pol'"),
        ({"layer": {"d_stat": 8, "n_smm": 1}}, "unknown field 'd_stat'.*'d_state'.*unknown field 'n_smm'.*'n_ssm'"),
        ({"pool": [4, 0]}, r"modelrc \(sashimi\): pool must be a list, each item of it a whole number of at least 1"),
        ({"pool": []}, "pool is empty"),
        ({"n_layers": 0}, "n_layers must be a whole number of at least 1"),
        ({"d_model": 0, "dropout": 2}, "d_model must be a whole number of at least 1.*dropout must be a number from 0 to 1"),
        ({"layer": {"dt_min": 0}}, r"modelrc\.layer: dt_min is 0 and dt_max 0\.1"),
        ({"layer": {"dt_min": 0.2}}, "the first at most the second"),
        ({"layer": {"lr": -1}}, "lr must be a number of at least 0"),
        ({"layer": {"lr": {"dt": -1}}}, "the learning rate of dt is -1"),
        ({"layer": {"n_ssm": "two"}}, "n_ssm must be a whole number"),
        ({"_name_": "unet", "cff": 0}, "cff must be a whole number of at least 1"),
        ({"_name_": "sashimi_standalone", "dt_max": 0}, r"modelrc \(sashimi_standalone\): dt_min is 0\.001 and dt_max 0"),
        ({"norm": "batch"}, "only 'layer'"),
        ({"d_model": "wide"}, "d_model must be a whole number"),
        ({"layer": {"n_ssm": 3}, "d_model": 4}, "n_ssm is 3: it must divide"),
        ({"layer": {"d_state": 7}}, "d_state is 7"),
        ({"layer": {"dt_tie": False}}, "dt_tie"),
        ({"layer": {"init": "legt"}}, "needs 2"),
        ({"layer": {"_name_": "s5"}}, "s5"),
    ],
)
def test_faults_of_a_config(config, message):
    with pytest.raises(ConfigError, match=message):
        build({"_name_": "sashimi", **config})


@pytest.mark.parametrize(
    "fields", [{"init": "legz"}, {"mode": "dplp"}, {"final_act": "glue"}, {"mode": "diag", "disc": "zoo"}, {"dt_transform": "expp"}]
)
def test_unknown_names(fields):
    with pytest.raises(UnknownNameError, match="did you mean"):
        S4Block(4, **fields)
