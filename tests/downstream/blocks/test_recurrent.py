"""Recurrent and convolutional heads of recognition tasks, against S3PRL's recorded outputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from downstream.blocks.heads import build_head, sequence_heads
from downstream.blocks.recurrent import RNNs
from downstream.blocks.wav2letter import Wav2Letter
from tests.downstream.recorded import by_formula
from utility.errors import ConfigError, UnknownNameError
from utility.experiment import checkpoint

TINY = {"dim": [4, 3], "total_rate": 320}
# Layer norm over frames that hardly vary magnifies rounding: the record itself is 7e-5 away from what double precision gives.
ATOL = {"ctc_asr_rnns_concat_10ms": 1e-4}


def recorded(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any], int]:
    """Weights in double precision, description of the head, samples per frame of a recorded expert."""
    saved = checkpoint.load(folder / "state.pt")
    expert = saved["Config"]["downstream_expert"]
    weights = {name: value.double() for name, value in saved["Downstream"].items()}
    return weights, expert.get("modelrc") or expert["model"], json.loads((folder / "params.json").read_text())["upstream_rate"]


@pytest.mark.parametrize("case", ["asr_rnns", "asr_rnns_test_split", "ctc_rnns_gru_drop", "ctc_asr_rnns_concat_10ms"])
def test_recorded_heads(golden, case: str):
    folder = golden(f"tasks/heads/{case}")
    weights, described, rate = recorded(folder)
    inputs, outputs = np.load(folder / "inputs.npz"), np.load(folder / "outputs.npz")
    head = build_head(described, described["project_dim"], outputs["logits"].shape[-1], sequence_heads(rate)).eval().double()
    head.load_state_dict({name.removeprefix("model."): value for name, value in weights.items() if name.startswith("model.")})
    features = [torch.from_numpy(inputs[f"feat_{item}"]).double() for item in range(len(inputs.files))]
    projected = F.linear(pad_sequence(features, batch_first=True), weights["projector.weight"], weights["projector.bias"])
    logits, lengths = head(projected, torch.tensor([len(feature) for feature in features]))
    np.testing.assert_allclose(logits.detach(), outputs["logits"], rtol=1e-4, atol=ATOL.get(case, 1e-5))
    assert lengths.tolist() == json.loads((folder / "outputs.json").read_text())["logits_len"]


def test_recorded_wav2letter(golden):
    folder = golden("tasks/heads/wav2letter_formula_weights")
    params, inputs, outputs = (
        json.loads((folder / "params.json").read_text()),
        np.load(folder / "inputs.npz"),
        np.load(folder / "outputs.npz"),
    )
    head = Wav2Letter(**params["kwargs"])
    by_formula(head, params["formula_init"])
    logits, lengths = head(torch.from_numpy(inputs["x"]), torch.from_numpy(inputs["len"]))
    np.testing.assert_allclose(logits.detach(), outputs["y0"], rtol=1e-4, atol=1e-5)
    assert lengths.tolist() == outputs["y1"].tolist()


def heads() -> dict[str, torch.nn.Module]:
    torch.manual_seed(0)
    return {
        "LSTM": RNNs(6, 5, 160, **TINY, layer_norm=[True, False], proj=[False, True], dropout=[0.5, 0.5]),
        "GRU": RNNs(6, 5, 160, module="GRU", bidirection=False, sample_rate=[2, 2], sample_style="drop", **TINY),
        "RNN": RNNs(6, 5, 160, module="RNN", dim=[4], total_rate=-1),
        "Wav2Letter": Wav2Letter(6, 5, 160),
    }


@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN", "Wav2Letter"])
def test_padding_changes_nothing(name: str):
    head = heads()[name].eval()
    features = [torch.randn(frames, 6) for frames in (24, 12, 1)]
    lengths = torch.tensor([len(feature) for feature in features])
    together, out_lengths = head(pad_sequence(features, batch_first=True), lengths)
    for item, feature in enumerate(features):
        alone, length = head(feature[None], lengths[item : item + 1])
        assert length[0] == out_lengths[item] >= 1
        torch.testing.assert_close(together[item, : length[0]], alone[0, : length[0]], rtol=1e-4, atol=1e-5)


def test_frames_become_fewer():
    assert RNNs(6, 5, 160, **TINY)(torch.randn(2, 11, 6), torch.tensor([11, 6]))[0].shape == (2, 5, 5)
    out, lengths = RNNs(6, 5, 320, **TINY)(torch.randn(2, 11, 6), torch.tensor([11, 6]))
    assert (out.shape, lengths.tolist()) == ((2, 11, 5), [11, 6])


def test_everything_is_trained():
    head = RNNs(6, 5, 160, **TINY, layer_norm=[True, True], proj=[True, True])
    head(torch.randn(2, 11, 6), torch.tensor([11, 6]))[0].square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in head.parameters())


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"module": "LTSM"}, UnknownNameError, "did you mean 'LSTM'"),
        ({"sample_style": "skip"}, UnknownNameError, "valid: concat, drop"),
        ({"dim": []}, ConfigError, "at least one width"),
        ({"dim": [4, 4], "dropout": [0.1]}, ConfigError, r"dropout must have one value per layer, 2 in all, not \[0.1\]"),
        ({"dim": [4], "proj": True}, ConfigError, "proj must be a list, each item of it True or False, not True"),
        ({"dim": [0]}, ConfigError, r"dim must be a list, each item of it a whole number of at least 1, not \[0\]"),
        ({"dim": 4}, ConfigError, "dim must be a list"),
        ({"dim": [4], "dropout": ["0.1"]}, ConfigError, "dropout must be a list, each item of it a number from 0 to 1"),
        ({"dim": [4], "sample_rate": [0]}, ConfigError, "sample_rate must be a list"),
        ({"bidirection": "yes"}, ConfigError, "bidirection must be True or False, not 'yes'"),
        ({"total_rate": "fast"}, ConfigError, "total_rate must be a whole number, not 'fast'"),
        ({"total_rate": 50}, ConfigError, "finer than the upstream's 160"),
        ({"upstream_rate": 320}, ConfigError, "unknown field 'upstream_rate'"),
    ],
)
def test_wrong_descriptions(options: dict[str, Any], error: type, sentence: str):
    with pytest.raises(error, match=sentence):
        build_head({"select": "RNNs", "RNNs": options}, 6, 5, sequence_heads(160))


def test_wav2letter_at_other_rates():
    with pytest.raises(ConfigError, match="finer than the upstream's 640"):
        Wav2Letter(6, 5, 640)
    out, lengths = Wav2Letter(6, 5, 640, total_rate=-1)(torch.randn(1, 7, 6), torch.tensor([7]))
    assert (out.shape, lengths.tolist()) == ((1, 7, 5), [7])
