"""What the tests of generators share: a recorded case, and a model that goes code by code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from downstream.audio_generation.models.code_model import CodeModel, Stepper

ZERO = 128  # the code of silence


def recorded(folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The weights of a case, and its arrays by name."""
    arrays = {}
    for file in ("inputs.npz", "expected.npz"):
        with np.load(folder / file) as stored:
            arrays |= {name: torch.from_numpy(stored[name]) for name in stored.files}
    return torch.load(folder / "state.pt", weights_only=True), arrays


def forward(model: CodeModel, ids: Tensor) -> Tensor:
    """Logits (B, L, n_codes) of the codes (B, L), after the zero tokens that the model wants before them."""
    with torch.no_grad():
        return model(torch.nn.functional.pad(ids, (model.warm_up, 0), value=ZERO))[0]


def stepped(stepper: Stepper, ids: Tensor) -> Tensor:
    """The same code by code."""
    stepper.reset()
    for _ in range(stepper.warm_up):
        stepper.step(torch.full((len(ids),), ZERO))
    return torch.stack([stepper.step(codes).clone() for codes in ids.T], 1)


def same_names(model: CodeModel, golden: Path, recipe: str) -> None:
    """Asserts that names, shapes and types of the weights are those recorded of an official config, and so is their number."""
    wanted: list[list[Any]] = json.loads((golden / "state_dict_keys.json").read_text())[recipe]
    found = {name: [list(value.shape), str(value.dtype).removeprefix("torch.")] for name, value in model.state_dict().items()}
    assert found == {name: rest for name, *rest in wanted}
    counts = json.loads((golden / "param_counts.json").read_text())[recipe]
    assert sum(p.numel() for p in model.parameters()) == counts["total_parameters"]
