"""SaShiMi against logits recorded from the public code: whole sequences, and step by step in every mode."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from downstream.audio_generation.models.build import build
from downstream.audio_generation.models.code_model import PlainStepper
from downstream.audio_generation.models.sashimi import Sashimi
from tests.downstream.audio_generation.stepping import forward, recorded, same_names, stepped

CORE = Path(__file__).parents[2] / "golden" / "generation"
CASES = json.loads((CORE / "state_spaces.json").read_text())
NAMES = {"null": None, "true": True}


def cases(family):
    """Those of the core, and the others, which take time."""
    names = [name for name in CASES if name.startswith(f"{family}/")]
    return [name if (CORE / name).exists() else pytest.param(name, marks=pytest.mark.slow) for name in names]


def config_of(overrides):
    """The section ``modelrc`` that the recorded command line stands for."""
    unet = overrides[0] == "experiment=audio/sashimi-sc09-unet"
    config = {"_name_": "unet" if unet else "sashimi", "layer": {"n_ssm": None} if unet else {}}
    for override in overrides[1:]:
        name, _, text = override.partition("=")
        value = NAMES.get(text, json.loads(text) if text[0] in "[0123456789" else text)
        path = ["layer", "_name_"] if name == "model/layer" else name.split(".")[1:]
        (config["layer"] if len(path) == 2 else config)[path[-1]] = value
    return config


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("case", cases("sashimi"))
def test_recorded_logits(golden, case, double):
    weights, wanted = recorded(golden(f"generation/{case}"))
    config = CASES[case]["config"]
    model = build(config_of(config["overrides"])).eval()
    model.load_state_dict(weights)
    model = model.double() if double else model
    tolerance = {"rtol": 2e-6, "atol": 1e-6} if double else {"rtol": 1e-3, "atol": 2e-4}
    torch.testing.assert_close(forward(model, wanted["ids"]).float(), wanted["logits"], **tolerance)
    for mode in (config["modes"] or [])[: None if double else 1]:
        torch.testing.assert_close(stepped(PlainStepper(model, 2, mode), wanted["ids"]), wanted["logits"], **tolerance)


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("case", cases("sashimi_standalone"))
def test_the_class_to_be_used_alone(golden, case, double):
    weights, wanted = recorded(golden(f"generation/{case}"))
    config = CASES[case]["config"]
    sashimi = Sashimi(**config["args"]).eval()
    sashimi.load_state_dict(weights)
    sashimi, x = (sashimi.double(), wanted["x"].double()) if double else (sashimi, wanted["x"])
    tolerance = {"rtol": 1e-7, "atol": 1e-8} if double else {"rtol": 1e-3, "atol": 2e-4}
    with torch.no_grad():
        torch.testing.assert_close(sashimi(x).double(), wanted["y_f64"], **tolerance)
        for mode in (config["modes"] or [])[: None if double else 1]:
            sashimi.setup_rnn(mode)
            state, outputs = sashimi.default_state(*x.shape[:1], device="cpu"), []
            for i in range(x.shape[1]):
                y, state = sashimi.step(x[:, i], state)
                outputs.append(y)
            torch.testing.assert_close(torch.stack(outputs, 1).double(), wanted["y_f64"], **tolerance)


@pytest.mark.parametrize(
    ("recipe", "config"),
    [
        ("sashimi-sc09", {"_name_": "sashimi"}),
        ("sashimi-sc09-unet", {"_name_": "unet", "layer": {"n_ssm": None}}),
        ("sashimi-standalone", {"_name_": "sashimi_standalone"}),
    ],
)
def test_published_sizes(golden, recipe, config):
    model = build(config)
    same_names(model, golden("generation/counts"), recipe)
    counts = json.loads((golden("generation/counts") / "param_counts.json").read_text())[recipe]
    own = sum(p.numel() for p in model.parameters() if "lr" in getattr(p, "_optim", {}))
    assert own == counts["param_groups_own_lr"]
    assert sum(p.numel() for p in model.model.parameters()) == counts["backbone_parameters"]


@pytest.mark.parametrize("n_layers", [2, 4, 6])
def test_published_sizes_of_fewer_layers(golden, n_layers):
    wanted = json.loads((golden("generation/counts") / "param_counts.json").read_text())[f"sashimi {n_layers} layers"]
    model = build({"_name_": "sashimi", "n_layers": n_layers})
    assert sum(p.numel() for p in model.parameters()) == wanted["total_parameters"]


@pytest.mark.parametrize(("n_layers", "millions"), [(2, 1.287), (4, 2.211), (6, 3.135), (8, 4.059)])
def test_sizes_printed_in_the_paper(n_layers, millions):
    model = build({"_name_": "sashimi", "n_layers": n_layers, "layer": {"final_act": "id"}})
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 3) == millions
