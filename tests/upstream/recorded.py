"""Outputs that were recorded from S3PRL's upstreams, compared with ours: every batch, every state, every other key."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from upstream.interfaces import Featurizer
from upstream.padded import PaddedUpstream
from utility.features.waves import pad_waves

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden" / "upstreams"


def manifest() -> dict[str, Any]:
    """The entries of the cases that lie in tests/golden/upstreams."""
    return json.loads((GOLDEN / "cases.json").read_text(encoding="utf-8"))


def inputs() -> dict[str, Tensor]:
    """The recorded waveforms by name."""
    with np.load(GOLDEN / "inputs.npz") as file:
        return {name: torch.from_numpy(file[name]) for name in file}


def assert_close(ours: Tensor, theirs: np.ndarray, tolerance: Mapping[str, float], what: str = "") -> None:
    """Equal shapes, and every element within the case's tolerance."""
    assert tuple(ours.shape) == theirs.shape, what
    if theirs.dtype.kind in "iub":
        assert (ours.numpy() == theirs).all(), what
        return
    error, size = np.abs(ours.detach().numpy() - theirs), tolerance["rtol"] * np.abs(theirs)
    assert (error <= tolerance["atol"] + size).all(), f"{what} is off by up to {error.max()}"
    most = tolerance.get("atol_for_99.9_percent", tolerance["atol"])
    assert (error <= most + size).mean() >= 0.999, f"{what}: more than 0.1 % is off by over {most}"


class Case:
    """One recorded case.

    Args:
        name: of the case.
        folder: where its files are.
        described: its entry in the manifest.
    """

    def __init__(self, name: str, folder: Path, described: Mapping[str, Any]):
        self.name, self.folder, self.described = name, folder, described
        with np.load(folder / "expected.npz") as file:
            self.arrays = dict(file)
        self.wavs = inputs()
        self.batches = manifest()["inputs"]["batches"]

    def batch(self, name: str) -> list[Tensor]:
        """The waveforms of a batch."""
        return [self.wavs[wav] for wav in self.batches[name]]

    def expected(self, key: str) -> np.ndarray:
        """A recorded array, or the one that it equals."""
        return self.arrays[key if key in self.arrays else self.described["same_as"][key]]

    def assert_states(self, upstream: nn.Module) -> None:
        """All batches: number, shapes and values of the hidden states, and all other recorded keys."""
        assert upstream.get_downsample_rates("hidden_states") == self.described["downsample_rate"]
        for name in self.described["batches"]:
            with torch.no_grad():
                result = upstream(self.batch(name))
            keys = [key.removeprefix(f"{name}/") for key in self.described["outputs"] if key.startswith(f"{name}/")]
            assert keys
            states = sum(key.startswith("hidden_states/") for key in keys)
            assert len(result["hidden_states"]) == states
            for key in keys:
                field, _, index = key.partition("/")
                ours = result[field][int(index)] if index else result[field]
                assert_close(ours, self.expected(f"{name}/{key}"), self.described["tolerance"], f"{self.name} {name}/{key}")

    def assert_featurizer(self, make: Callable[[], nn.Module]) -> None:
        """The weighted sum, with and without normalisation, and a single layer, where they were recorded."""
        recorded = self.described.get("featurizer")
        if not recorded:
            return
        upstream, wavs = make(), self.batch(recorded["batch"])
        with torch.no_grad():
            states = upstream(wavs)
        variants: dict[str, dict[str, Any]] = {"weighted_sum": {}, "weighted_sum_normalize": {"normalize": True}}
        if "layer_selection" in recorded:
            variants["layer_selection"] = {"layer_selection": recorded["layer_selection"]}
        for variant, options in variants.items():
            if f"featurizer/{variant}/0" not in self.described["outputs"]:
                continue
            featurizer = Featurizer(upstream, **options)
            if variant != "layer_selection" and "featurizer/weights" in self.arrays:
                featurizer.weights.data.copy_(torch.from_numpy(self.arrays["featurizer/weights"]))
            for index, feature in enumerate(featurizer(wavs, states)):
                key = f"featurizer/{variant}/{index}"
                assert_close(feature, self.expected(key), self.described["tolerance"], f"{self.name} {key}")

    def assert_padded(self, upstream: nn.Module) -> None:
        """The padded-tensor interface, where it was recorded."""
        for name, recorded in self.described.get("S3PRLUpstream", {}).items():
            key = f"S3PRLUpstream/{name}/"
            padded = torch.from_numpy(self.arrays[f"{key}wavs"]) if f"{key}wavs" in self.arrays else pad_waves(self.batch(name))
            with torch.no_grad():
                states, frames = PaddedUpstream(upstream)(padded, torch.tensor(recorded["wavs_len"]))
            assert frames[0].tolist() == recorded["hs_len"]
            for index, state in enumerate(states):
                assert_close(state, self.expected(f"{key}hs/{index}"), self.described["tolerance"], f"{self.name} {key}hs/{index}")
