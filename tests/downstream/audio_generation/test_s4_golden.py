"""HiPPO matrices, kernels and layers of S4 and S4D against numbers recorded from the public code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from downstream.audio_generation.models import hippo, ssm_kernel
from downstream.audio_generation.models.s4_kernel import S4Kernel
from downstream.audio_generation.models.s4_layer import MinimalS4d, S4Block
from downstream.audio_generation.models.s4d_kernel import MinimalS4dKernel, S4dKernel
from downstream.audio_generation.models.ssm_kernel import OPTIONS
from tests.downstream.audio_generation.stepping import recorded

CASES = json.loads((Path(__file__).parents[2] / "golden" / "generation" / "state_spaces.json").read_text())
KERNELS = {"dplr": S4Kernel, "diag": S4dKernel, "s4d_minimal": MinimalS4dKernel}
EXACT, SINGLE = {"rtol": 1e-9, "atol": 1e-10}, {"rtol": 1e-3, "atol": 2e-5}  # tolerances of the records
ALIASED = ("kernels/dplr_grow", (0, 1))  # the recorder kept references to C, which the later requests changed


def of(*kinds):
    return [name for name, case in CASES.items() if case["kind"] in kinds]


def arrays(folder):
    with np.load(folder / "expected.npz") as stored:
        return {name: torch.from_numpy(stored[name]) for name in stored.files}


@pytest.mark.parametrize("case", of("hippo"))
def test_hippo(golden, case):
    config, wanted = CASES[case]["config"], arrays(golden(f"generation/{case}"))
    a, b = hippo.transition(config["measure"], config["N"])
    spectrum, p_tilde, b_tilde = hippo.dplr(config["measure"], config["N"], config["rank"])
    found = {"A": a, "B": b, "P": hippo.low_rank(config["measure"], config["N"], config["rank"]), "Lambda": spectrum}
    found |= {"abs_Pt": np.abs(p_tilde), "abs_Bt": np.abs(b_tilde), "Pt_conjBt": p_tilde * b_tilde.conj()}
    for name, value in found.items():
        np.testing.assert_allclose(value, wanted[name].numpy(), rtol=1e-9, atol=1e-10, err_msg=name)


@pytest.mark.parametrize("case", of("s4d_init"))
def test_first_weights_of_s4d(golden, case):
    config, wanted = CASES[case]["config"], arrays(golden(f"generation/{case}"))
    kernel = S4dKernel(config["H"], d_state=config["N"], init=config["init"], n_ssm=config["n_ssm"], options=config.get("init_args"))
    spectrum = hippo.initial(config["init"], config["N"], config["n_ssm"], options=config.get("init_args")).A
    legs = "legs" in config["init"]  # recorded to single precision; the phase of B is arbitrary
    torch.testing.assert_close(spectrum, wanted["A_f64"], rtol=1e-6 if legs else 1e-9, atol=0)
    torch.testing.assert_close(kernel.a().detach(), wanted["A_effective_f32"], rtol=2e-6, atol=0)
    for name in ("A_real", "A_imag", "B"):
        found, recorded_value = getattr(kernel, name).detach(), wanted[f"{name}_param"]
        if legs and name == "B":
            found, recorded_value = (value.norm(dim=-1) for value in (found, recorded_value))
        torch.testing.assert_close(found, recorded_value, rtol=2e-6, atol=2e-7 if legs else 0)


@pytest.mark.parametrize("case", of("dt_init"))
def test_first_step_sizes(golden, case):
    config = CASES[case]["config"]
    wanted = recorded_arrays(golden(f"generation/{case}"))
    stored = ssm_kernel.inv_dt(wanted["u"], config["dt_min"], config["dt_max"], config["dt_transform"])
    torch.testing.assert_close(stored, wanted["inv_dt"], rtol=2e-5, atol=0)
    torch.testing.assert_close(ssm_kernel.transform(config["dt_transform"], "")[0](stored), wanted["dt"], rtol=2e-5, atol=0)


def recorded_arrays(folder):
    with np.load(folder / "inputs.npz") as stored:
        return arrays(folder) | {name: torch.from_numpy(stored[name]) for name in stored.files}


def kernel_of(case, state):
    config = CASES[case]["config"]
    fields = dict(config["args"])
    if config["kernel"] == "s4d_minimal":
        fields["n"] = fields.pop("N")
    options = {name: fields.pop(name) for name in list(fields) if name in OPTIONS}
    kernel = KERNELS[config["kernel"]](**fields, **({"options": options} if options else {}))
    kernel.load_state_dict(state)
    return kernel


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("case", of("kernel"))
def test_kernels(golden, case, double):
    folder = golden(f"generation/{case}")
    wanted = recorded_arrays(folder) if (folder / "inputs.npz").exists() else arrays(folder)
    kernel = kernel_of(case, torch.load(folder / "state.pt", weights_only=True))
    kernel = kernel.double() if double else kernel
    if "dA" in wanted:
        step = kernel.recurrence()
        for name, value in {"dA": step.a_bar, "dB": step.b_bar, "dC": step.c_bar}.items():
            torch.testing.assert_close(value.detach(), wanted[name], **(EXACT if double else SINGLE))
    for index, call in enumerate(CASES[case]["config"]["calls"]):
        check_call(kernel, case, call, wanted, index, double)


@torch.no_grad()
def check_call(kernel, case, call, wanted, index, double):
    tolerance = EXACT if double else SINGLE
    extra = {"rate": call["rate"]} if "rate" in call else {}
    if call.get("state"):
        extra["state"] = wanted["state"].to(torch.complex128 if double else torch.complex64)
    found = kernel(call["L"], **extra)
    found, of_state = found if isinstance(found, tuple) else (found, None)
    kernel_wanted = wanted[f"K{index}_f64"]  # in single precision for "dss"
    torch.testing.assert_close(found.to(kernel_wanted.dtype), kernel_wanted, **tolerance)
    if of_state is not None:
        torch.testing.assert_close(of_state.double(), wanted[f"Kstate{index}_f64"], **tolerance)
        following = kernel.advance(extra["state"], wanted["u"])
        torch.testing.assert_close(following, wanted[f"next_state{index}_f64"], check_dtype=False, **tolerance)
    if f"C_param{index}_f64" in wanted and double:
        assert kernel.l_kernel == wanted[f"l_kernel{index}"]
        if case != ALIASED[0] or index not in ALIASED[1]:
            torch.testing.assert_close(kernel.C, wanted[f"C_param{index}_f64"], **tolerance)


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("case", of("block"))
def test_layers(golden, case, double):
    config, (weights, wanted) = CASES[case]["config"], recorded(golden(f"generation/{case}"))
    block = (MinimalS4d if config["cls"] == "minimal_s4d" else S4Block)(**config["args"]).eval()
    block.load_state_dict(weights)
    tolerance = EXACT if double else {"rtol": 1e-3, "atol": 1e-4}
    block, x = (block.double(), wanted["x"].double()) if double else (block, wanted["x"])
    lengths = {"lengths": wanted["lengths"]} if "lengths" in wanted else {}
    with torch.no_grad():
        y = block(x.mT, **lengths)[0].mT if block.transposed else block(x, **lengths)[0]
    torch.testing.assert_close(y.double(), wanted["y_f64"], **tolerance)
    for mode in config["modes"] or []:
        name = f"step_{mode}" if mode else "step"
        if f"{name}_f64" in wanted:
            check_steps(block, x, mode, wanted, name, tolerance)


@torch.no_grad()
def check_steps(block, x, mode, wanted, name, tolerance):
    block.setup_step(mode)
    state, outputs = block.default_state(len(x)), []
    for moment in x.unbind(1):
        y, state = block.step(moment, state)
        outputs.append(y)
    torch.testing.assert_close(torch.stack(outputs, 1).double(), wanted[f"{name}_f64"], **tolerance)
    if mode != "diagonal":  # whose states depend on the scale of the eigenvectors
        torch.testing.assert_close(state, wanted[f"{name}_final_state_f64"], check_dtype=False, **tolerance)
