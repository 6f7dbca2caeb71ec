"""The float ONNX file: names, shapes, operators and numbers, the recorded ones among them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from downstream.speech_enhancement.models.tcnn import STFTTCNN
from downstream.speech_enhancement.onnx.export import export
from downstream.speech_enhancement.onnx.session import OnnxMask, is_quantized, load
from utility.errors import CheckpointError, ConfigError, DataError

CASES = {
    "onnx_tcnn": STFTTCNN(257, 24, 2, 3, mask_activation="sigmoid"),
    "onnx_tcnn_percentile": STFTTCNN(257, 16, 1, 4, mask_activation="tanh"),
}


def ops(model: onnx.ModelProto) -> Counter:
    return Counter(node.op_type for node in model.graph.node)


@pytest.mark.parametrize("case", CASES)
def test_recorded_network(golden, tmp_path: Path, case: str):
    folder, model = golden(f"enhancement/{case}"), CASES[case]
    model.load_state_dict(torch.load(folder / "best_model_state_dict.pth", weights_only=True))
    exported = load(export(model, tmp_path / "a.onnx", 257))
    info, recorded = json.loads((folder / "info.json").read_text()), np.load(folder / "io.npz")
    assert ops(exported) == info["float_ops"] == ops(load(folder / "best_trained_model.onnx"))
    assert [(entry.domain, entry.version) for entry in exported.opset_import] == [("", 17)]
    for path in (tmp_path / "a.onnx", folder / "best_trained_model.onnx"):
        mask = OnnxMask(path, 257)
        for length in ("static", "dynamic"):
            expected = recorded[f"output_float_{length}_len"]
            np.testing.assert_allclose(mask(recorded[f"input_{length}"]), expected, rtol=1e-4, atol=1e-5)


def test_names_and_dynamic_axes(tmp_path: Path):
    model = STFTTCNN(33, 8, 1, 2).train()
    exported = load(export(model, tmp_path / "new" / "a.onnx", 33))
    for entry, name in ((exported.graph.input[0], "input"), (exported.graph.output[0], "output")):
        dims = [dim.dim_param or dim.dim_value for dim in entry.type.tensor_type.shape.dim]
        assert (entry.name, dims) == (name, ["batch", 33, "seq_len"])
    assert all(module.training for module in model.modules())
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.onnx"]
    assert not is_quantized(exported)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.out = nn.LSTM(17, 9, 2, batch_first=True), nn.Linear(9, 17)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.lstm(x.transpose(1, 2))[0]).transpose(1, 2).sigmoid()


@pytest.mark.parametrize(("model", "bins"), [(STFTTCNN(17, 8, 2, 2, layer_activation="prelu"), 17), (Recurrent(), 17)])
@pytest.mark.parametrize("opset", [13, 17])
def test_any_batch_and_length(tmp_path: Path, model: nn.Module, bins: int, opset: int):
    mask = OnnxMask(export(model, tmp_path / "a.onnx", bins, opset), bins)
    assert load(tmp_path / "a.onnx").opset_import[0].version == opset
    model.eval()
    for batch, frames in ((1, 1), (3, 21)):
        given = torch.rand(batch, bins, frames, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            np.testing.assert_allclose(mask(given.numpy()), model(given).numpy(), atol=1e-5)


@pytest.mark.parametrize("opset", [8, 99, "17", True])
def test_bad_opset(tmp_path: Path, opset: object):
    with pytest.raises(ConfigError, match=f"opset_version must be a whole number from 9 to 20, not {opset!r}"):
        export(STFTTCNN(9, 4, 1, 1), tmp_path / "a.onnx", 9, opset)  # type: ignore[arg-type]


def test_bad_files(tmp_path: Path):
    (tmp_path / "text.onnx").write_text("a text that is no model")
    with pytest.raises(CheckpointError, match=r"text\.onnx is no ONNX model"):
        OnnxMask(tmp_path / "text.onnx", 257)
    with pytest.raises(DataError, match=r"there is no ONNX file .*absent\.onnx"):
        OnnxMask(tmp_path / "absent.onnx", 257)
    path = export(STFTTCNN(129, 4, 1, 1), tmp_path / "a.onnx", 129)
    with pytest.raises(DataError, match=r"takes spectra of 129 bins \(n_fft 256\), but those of preprocessing.n_fft 512 have 257"):
        OnnxMask(path, 257)


def test_two_inputs_are_no_mask(tmp_path: Path):
    a, b = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 5, "t"]) for name in "ab")
    out = onnx.helper.make_tensor_value_info("c", onnx.TensorProto.FLOAT, [1, 5, "t"])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Add", ["a", "b"], ["c"])], "g", [a, b], [out])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), tmp_path / "two.onnx")
    with pytest.raises(CheckpointError, match="one input of the shape"):
        OnnxMask(tmp_path / "two.onnx", 5)
