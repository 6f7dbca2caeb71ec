"""The recorded cases of MOS prediction: predictors in the public code's options, and what they are given."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from downstream.mos_prediction.build import PREDICTORS, build_predictor
from downstream.mos_prediction.models.parts import Conditions
from downstream.mos_prediction.sheet import translated

MANIFEST = Path(__file__).resolve().parents[2] / "golden/mos/manifest.json"
CASES = {case["case"]: case for case in json.loads(MANIFEST.read_text())["cases"]}


def cases(*kinds: str) -> list[str]:
    """Names of the cases of these kinds that have files."""
    return [name for name, case in CASES.items() if case.get("kind") in kinds and case.get("files")]


def predictor(case: dict[str, Any]) -> nn.Module:
    """The predictor of a case, as a checkpoint of the public code is taken over."""
    config = {"model_type": case["model_type"], "model_params": case["model_params"]}
    model = translated(config, trained_there=True)["downstream_expert"]["modelrc"]
    width = case["model_params"].get("ssl_model_output_dim", 257)
    return build_predictor(
        case["model_type"], model["model_params"], width, case.get("num_listeners"), case.get("num_domains"), "case"
    ).eval()


def checkpoint_of(folder: Path) -> dict[str, Tensor]:
    """The weights of the predictor itself."""
    (path,) = folder.glob("checkpoint-*")
    content = torch.load(path, weights_only=True)
    return {name: value for name, value in content.get("model", content).items() if not name.startswith("ssl_model.")}


def arrays(folder: Path) -> Callable[[str], Tensor | None]:
    """Reads an array of a case, None where there is none."""
    file = np.load(folder / "io.npz")
    return lambda name: torch.from_numpy(file[name]) if name in file.files else None


def conditions(read: Callable[[str], Tensor | None], place: str = "in.") -> Conditions:
    """What the predictor is told."""

    def pair(name: str) -> tuple[Tensor, Tensor] | None:
        symbols = read(f"{place}{name}_idxs")
        return None if symbols is None else (symbols, read(f"{place}{name}_lengths"))

    return Conditions(read(f"{place}listener_idxs"), read(f"{place}domain_idxs"), pair("phoneme"), pair("reference"))


def features(case: dict[str, Any], read: Callable[[str], Tensor | None]) -> Tensor:
    """(B, T, D): spectrogram, given features, or the recorded hidden state that the case takes."""
    for name in ("in.mag_sgram", "in.features"):
        if (given := read(name)) is not None:
            return given
    return read("ssl.hidden_states")[case["model_params"]["ssl_model_layer_idx"]]


def takes(kind: str, option: str) -> bool:
    """Whether a predictor has an option."""
    make = PREDICTORS[kind]
    return option in inspect.signature(getattr(make, "func", make)).parameters
