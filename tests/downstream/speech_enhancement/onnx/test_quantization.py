"""Int8 files: the recorded scales, operators and outputs; size, options, refusals."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from downstream.speech_enhancement.models.tcnn import STFTTCNN
from downstream.speech_enhancement.onnx.export import export
from downstream.speech_enhancement.onnx.options import Quantization, section_of
from downstream.speech_enhancement.onnx.quantization import quantize
from downstream.speech_enhancement.onnx.session import OnnxMask, is_quantized, load
from utility.errors import CheckpointError, ConfigError, DataError

CASES = {"onnx_tcnn": 3, "onnx_tcnn_percentile": 2}  # and their clips


def scales(model: onnx.ModelProto) -> list[tuple[str, float, int]]:
    """Name, scale and zero point of each activation, in the order of the graph."""
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    return [(node.input[0], float(values[node.input[1]]), int(values[node.input[2]])) for node in nodes]


def weights(model: onnx.ModelProto) -> list[np.ndarray]:
    tensors = [numpy_helper.to_array(tensor) for tensor in model.graph.initializer]
    return [tensor for tensor in tensors if tensor.dtype == np.int8 and tensor.ndim == 3]


def options_of(info: dict) -> Quantization:
    renamed = {"calibrate_method": "calibration_method"}
    kept = {renamed.get(key, key): value for key, value in info["options"].items()}
    if not kept["per_channel"]:
        kept["reduce_range"] = False  # as the recorded runtime did, which left all 8 bits to weights with one scale
    return section_of(
        Quantization, {"quantization": {k: v for k, v in kept.items() if not k.endswith(("_type", "_format"))}}, "quantization"
    )


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("own", [True, False])
def test_recorded_quantization(golden, tmp_path: Path, case: str, own: bool):
    """From the recorded float file and from an own export of the same weights."""
    folder = golden(f"enhancement/{case}")
    info, recorded = json.loads((folder / "info.json").read_text()), np.load(folder / "io.npz")
    source = folder / "best_trained_model.onnx"
    if own:
        model = STFTTCNN(257, 24, 2, 3, mask_activation="sigmoid") if case == "onnx_tcnn" else STFTTCNN(257, 16, 1, 4)
        model.load_state_dict(torch.load(folder / "best_model_state_dict.pth", weights_only=True))
        source = export(model, tmp_path / "own.onnx", 257)
    clips = [recorded[f"calibration{number}"][None] for number in range(CASES[case])]
    made = quantize(source, tmp_path / "out", [lambda clip=clip: clip for clip in clips], options_of(info))
    model = load(made.dynamic)
    assert Counter(node.op_type for node in model.graph.node) == info["int8_ops"]
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    expected = info["activation_qparams"]
    found = scales(model)
    assert [zero for _, _, zero in found] == [entry["zero_point"] for entry in expected]
    np.testing.assert_allclose([scale for _, scale, _ in found], [entry["scale"] for entry in expected], rtol=1e-4)
    wanted = [entry for name, entry in info["weights"].items() if name.endswith("_quantized") and len(entry["shape"]) == 3]
    ranges = [(list(weight.shape), int(weight.min()), int(weight.max())) for weight in weights(model)]
    assert sorted(ranges) == sorted((entry["shape"], entry["min"], entry["max"]) for entry in wanted)
    check_outputs(made.dynamic, made.static, recorded, 0.03)


@pytest.mark.parametrize("case", CASES)
def test_recorded_files(golden, case: str):
    """The recorded int8 files give the recorded masks; kernels of another processor may differ by a step of the quantisation in a layer."""
    folder = golden(f"enhancement/{case}")
    check_outputs(folder / "quantized_model_int8.onnx", folder / "quantized_model_int8_static.onnx", np.load(folder / "io.npz"), 0.03)


def check_outputs(dynamic: Path, static: Path, recorded: np.lib.npyio.NpzFile, tolerance: float) -> None:
    mask, fixed = OnnxMask(dynamic, 257), OnnxMask(static, 257)
    assert mask.quantized
    assert (mask.frames, fixed.frames) == (None, recorded["input_static"].shape[-1])
    np.testing.assert_allclose(mask(recorded["input_dynamic"]), recorded["output_int8_dynamic_len"], atol=tolerance)
    np.testing.assert_allclose(mask(recorded["input_static"]), recorded["output_int8_static_len"], atol=tolerance)
    np.testing.assert_array_equal(mask(recorded["input_static"]), fixed(recorded["input_static"]))


@pytest.fixture(scope="module")
def net(tmp_path_factory) -> Path:
    """A network that is wide enough for weights to be most of its file."""
    torch.manual_seed(0)
    return export(STFTTCNN(257, 512, 1, 2), tmp_path_factory.mktemp("net") / "a.onnx", 257)


def clips(*frames: int) -> list:
    rng = np.random.default_rng(0)
    return [lambda clip=clip: clip for clip in (rng.random((1, 257, count), dtype=np.float32) for count in frames)]


def test_all_convolutions_at_a_third_of_the_size(net: Path, tmp_path: Path):
    made = quantize(net, tmp_path, clips(30, 41), Quantization())
    assert made.dynamic.stat().st_size < 0.35 * net.stat().st_size
    model = load(made.dynamic)
    producers = {out: node.op_type for node in model.graph.node for out in node.output}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 6
    assert all({producers[name] for name in node.input} == {"DequantizeLinear"} for node in convolutions)
    given = np.random.default_rng(1).random((2, 257, 33), dtype=np.float32)
    assert np.abs(OnnxMask(made.dynamic, 257)(given) - OnnxMask(net, 257)(given)).mean() < 0.05
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in (made.preprocessed, made.dynamic, made.static))


@pytest.mark.parametrize("method", ["Percentile", "Entropy"])
def test_histograms_take_clips_of_different_lengths(net: Path, tmp_path: Path, method: str):
    made = quantize(net, tmp_path, clips(30, 41), Quantization(calibration_method=method, extra_options={}))
    assert is_quantized(load(made.dynamic))


@pytest.mark.parametrize("per_channel", [True, False])
def test_reduced_range(net: Path, tmp_path: Path, per_channel: bool):
    made = quantize(net, tmp_path, clips(30), Quantization(reduce_range=True, per_channel=per_channel))
    assert all(60 <= np.abs(weight.astype(int)).max() <= 64 for weight in weights(load(made.dynamic)))


def test_refusals(net: Path, tmp_path: Path):
    with pytest.raises(DataError, match="there are no recordings to measure"):
        quantize(net, tmp_path, [], Quantization())
    with pytest.raises(ConfigError, match=r"static_axis_name 'seqlen' is no axis of .*did you mean 'seq_len'"):
        quantize(net, tmp_path, clips(9), Quantization(static_axis_name="seqlen"))
    made = quantize(net, tmp_path, clips(9), Quantization())
    with pytest.raises(CheckpointError, match="is quantised already"):
        quantize(made.dynamic, tmp_path, clips(9), Quantization())
    old = export(STFTTCNN(9, 4, 1, 1), tmp_path / "old.onnx", 9, opset=12)
    with pytest.raises(CheckpointError, match="is of opset 12; the quantisation needs 13 at least"):
        quantize(old, tmp_path, clips(9), Quantization())


def test_faults_of_the_section_are_said_at_once():
    given = {"calibration_method": "minmax", "static_sequence_length": 0, "num_quantization_samples": 1.5}
    with pytest.raises(ConfigError) as refused:
        section_of(Quantization, {"quantization": given}, "quantization")
    assert "'minmax' is unknown; did you mean 'MinMax'?" in str(refused.value)
    assert len(refused.value.faults) == 3
    with pytest.raises(ConfigError, match=r"unknown field 'per_chanel'; did you mean 'per_channel'\?"):
        section_of(Quantization, {"quantization": {"per_chanel": True}}, "quantization")
    for wrong, sentence in (
        ({"op_types_to_quantize": ["Conv", "Reluu"]}, "'Reluu' in op_types_to_quantize is no operator of ONNX; did you mean 'Relu'"),
        ({"op_types_to_quantize": "Conv"}, "op_types_to_quantize must be a list of operators, not 'Conv'"),
        ({"extra_options": {"CalibMovingAverages": True}}, "'CalibMovingAverages' is unknown; did you mean 'CalibMovingAverage'"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            section_of(Quantization, {"quantization": wrong}, "quantization")
    assert section_of(Quantization, {"quantization": None}, "quantization") == Quantization()
