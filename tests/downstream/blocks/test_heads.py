"""Heads against S3PRL's recorded outputs; their configs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from downstream.blocks.heads import build_head
from utility.errors import ConfigError, UnknownNameError
from utility.experiment import checkpoint


def arrays(path: Path) -> dict[str, torch.Tensor]:
    with np.load(path) as file:
        return {name: torch.from_numpy(file[name]) for name in file}


@pytest.mark.parametrize("case", ["mean", "framelevel", "attentive_relu", "attentive_tanh_hidden"])
def test_recorded_heads(golden, case: str):
    folder = golden(f"tasks/heads/utterance_level_{case}")
    params = json.loads((folder / "params.json").read_text())
    config = params["config"]
    if "attentive" in case:
        config["UtteranceLevel"]["published"] = True
    head = build_head(config, params["input_dim"], params["output_dim"])
    head.load_state_dict(torch.load(folder / "state.pt", weights_only=True))
    given, expected = arrays(folder / "inputs.npz"), arrays(folder / "outputs.npz")
    out, lengths = head(given["x"], given["len"])
    torch.testing.assert_close(out, expected["y"], rtol=1e-4, atol=1e-5)
    assert lengths.tolist() == json.loads((folder / "outputs.json").read_text())["len"]


def test_recorded_pre_and_post_net(golden):
    folder = golden("tasks/heads/er_mean_pre_post_net")
    saved = checkpoint.load(folder / "state.pt")
    modelrc = saved["Config"]["downstream_expert"]["modelrc"]
    head = build_head(modelrc, modelrc["projector_dim"], 4)
    weights = saved["Downstream"]
    head.load_state_dict({name.removeprefix("model."): value for name, value in weights.items() if name.startswith("model.")})
    given = arrays(folder / "inputs.npz")
    features = [given[f"feat_{item}"] for item in range(3)]
    padded = torch.nn.utils.rnn.pad_sequence(features, batch_first=True)
    projected = torch.nn.functional.linear(padded, weights["projector.weight"], weights["projector.bias"])
    out, _ = head(projected, torch.tensor([len(feature) for feature in features]))
    torch.testing.assert_close(out, arrays(folder / "outputs.npz")["logits"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("described", "error", "sentence"),
    [
        ({"select": "UtterLevel"}, UnknownNameError, "did you mean 'UtteranceLevel'"),
        ({}, UnknownNameError, "FrameLevel, UtteranceLevel"),
        ({"select": ["FrameLevel"]}, UnknownNameError, "unknown head in modelrc.select .*FrameLevel"),
        ({"select": "UtteranceLevel", "UtteranceLevel": {"pooling": "MaxPooling"}}, UnknownNameError, "did you mean 'MeanPooling'"),
        ({"select": "FrameLevel", "FrameLevel": {"hidden": [3]}}, ConfigError, "did you mean 'hiddens'"),
    ],
)
def test_wrong_descriptions(described: dict, error: type, sentence: str):
    with pytest.raises(error, match=sentence):
        build_head(described, 5, 4)
