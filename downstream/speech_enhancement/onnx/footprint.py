"""What an ONNX file needs: parameters, multiplications, bytes of weights and of activations. Each tensor's shape is read off a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

from .session import load

_RECURRENT = ("LSTM", "GRU", "RNN")
_QUANTISE, _DEQUANTISE = "QuantizeLinear", "DequantizeLinear"


@dataclass(frozen=True)
class Footprint:
    """Of one inference on one clip.

    Args:
        frames: T of the clip.
        parameters: weights and biases, without scales and zero points; equal ones are stored once.
        weight_bytes: of everything that the file holds as constant tensors.
        macs: multiplications with addition of convolutions, matrix products and recurrent layers; padding counts.
        peak_bytes: most bytes of activations that live at one time, without operations in place; what is quantised counts one byte.
    """

    frames: int
    parameters: int
    weight_bytes: int
    macs: int
    peak_bytes: int


def footprint(path: Path, bins: int, frames: int) -> Footprint:
    """Measures a file that takes (1, ``bins``, ``frames``).

    Raises:
        DataError, CheckpointError: as :func:`~downstream.speech_enhancement.onnx.session.load`.
    """
    model = load(path)
    tensors = _tensors(model, np.zeros((1, bins, frames), np.float32))
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    scales = {name for node in model.graph.node if node.op_type in (_QUANTISE, _DEQUANTISE) for name in node.input[1:]}
    counted = [weight for name, weight in weights.items() if name not in scales and weight.dtype != np.int64]
    return Footprint(
        frames=frames,
        parameters=sum(weight.size for weight in counted),
        weight_bytes=sum(weight.nbytes for weight in weights.values()) + _constants(model.graph),
        macs=sum(_macs(node, {name: tensor.shape for name, tensor in {**weights, **tensors}.items()}) for node in model.graph.node),
        peak_bytes=_peak(model.graph, {name: tensor.nbytes for name, tensor in tensors.items()}),
    )


def _tensors(model: onnx.ModelProto, clip: np.ndarray) -> dict[str, np.ndarray]:
    """The input and what each node gives, by name."""
    entry = model.graph.input[0].name
    names = [name for node in model.graph.node for name in node.output if name]
    known = {output.name for output in model.graph.output}
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(shown.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return {entry: clip, **dict(zip(names, session.run(names, {entry: clip}), strict=True))}


def _constants(graph: onnx.GraphProto) -> int:
    """Bytes of tables, such as filters that are not trained, which stand in the graph itself."""
    tensors = [entry.t for node in graph.node if node.op_type == "Constant" for entry in node.attribute if entry.name == "value"]
    return sum(numpy_helper.to_array(tensor).nbytes for tensor in tensors if tensor.data_type == onnx.TensorProto.FLOAT)


def _macs(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Multiplications of one node."""
    if node.op_type == "Conv":
        return prod(shapes[node.output[0]]) * prod(shapes[node.input[1]][1:])
    if node.op_type == "ConvTranspose":
        return prod(shapes[node.input[0]]) * prod(shapes[node.input[1]][1:])
    if node.op_type in ("MatMul", "Gemm"):
        rows, product = shapes[node.input[0]], prod(shapes[node.output[0]])
        transposed = any(entry.name == "transA" and entry.i for entry in node.attribute)
        return product * (rows[0] if transposed else rows[-1])
    if node.op_type in _RECURRENT:
        steps, batch = shapes[node.input[0]][:2]
        return steps * batch * (prod(shapes[node.input[1]]) + prod(shapes[node.input[2]]))
    return 0


def _peak(graph: onnx.GraphProto, sizes: Mapping[str, int]) -> int:
    """The largest sum of the sizes of tensors that are needed at one node."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    origin, born, bytes_of = {}, {graph.input[0].name: 0}, {graph.input[0].name: sizes[graph.input[0].name]}
    last: dict[str, int] = {}
    for step, node in enumerate(graph.node):
        for name in node.input:
            last[origin.get(name, name)] = step
        for name in filter(None, node.output):
            if node.op_type == _DEQUANTISE:  # an integer kernel reads what was quantised
                origin[name] = origin.get(node.input[0], node.input[0])
                continue
            fused = bool(readers.get(name)) and all(reader.op_type == _QUANTISE for reader in readers[name])
            born[name], bytes_of[name] = step, 0 if fused else sizes[name]
            if (
                node.op_type == _QUANTISE and bytes_of.get(node.input[0]) == 0
            ):  # the kernel before it writes whole numbers, beside what it reads
                born[name] = born[node.input[0]]
    last.update({output.name: len(graph.node) for output in graph.output})
    alive = [sum(bytes_of[name] for name in born if born[name] <= step <= last.get(name, -1)) for step in range(len(graph.node))]
    return max(alive, default=0)
