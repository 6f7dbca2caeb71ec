"""Static quantisation of a float ONNX file to int8 (QDQ): weights symmetric, activations with a zero point, ranges from clips."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.tools.onnx_model_utils import fix_output_shapes, make_dim_param_fixed

from utility.errors import CheckpointError, ConfigError, DataError, did_you_mean

from ..zoo.fields import LEAST_OPSET
from .options import Quantization
from .session import is_quantized, load

PREPROCESSED, DYNAMIC, STATIC = "preprocessed_model.onnx", "quantized_model_int8.onnx", "quantized_model_int8_static.onnx"

Clip = Callable[[], np.ndarray]


@dataclass(frozen=True)
class Quantized:
    """The files that a quantisation writes.

    Args:
        preprocessed: the float network with shapes and constants worked out.
        dynamic: int8, any batch and length.
        static: int8, one clip of ``static_sequence_length`` frames.
    """

    preprocessed: Path
    dynamic: Path
    static: Path


def quantize(source: Path, folder: Path, clips: Sequence[Clip], options: Quantization) -> Quantized:
    """Writes the three files into ``folder``; each is replaced when the new one is whole.

    Args:
        source: a float ONNX file with one input.
        folder: made if it is missing.
        clips: functions that return the magnitudes of one clip, (1, F, T) float32, each called while it is needed.
        options: as the config says.

    Raises:
        CheckpointError: the file is quantised already, takes several inputs, or is of an opset too old.
        ConfigError: the quantiser knows no such axis, operator or option.
        DataError: there are no clips.
    """
    _check(source, load(source), options)
    if not clips:
        raise DataError("there are no recordings to measure the ranges of the quantisation on")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".quantization-") as place, redirect_stdout(sys.stderr):  # histograms are talkative
        made = Quantized(*(Path(place) / name for name in (PREPROCESSED, DYNAMIC, STATIC)))
        _preprocess(source, made.preprocessed)
        _to_int8(made, clips, options)
        _fix_length(made, options)
        for path in (made.preprocessed, made.dynamic, made.static):
            path.replace(folder / path.name)
    return Quantized(folder / PREPROCESSED, folder / DYNAMIC, folder / STATIC)


def _check(source: Path, model: onnx.ModelProto, options: Quantization) -> None:
    if is_quantized(model):
        raise CheckpointError(f"{source} is quantised already; a float ONNX file is needed")
    if len(model.graph.input) != 1:
        raise CheckpointError(f"{source} takes {len(model.graph.input)} inputs; only networks with one can be quantised")
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if opset < LEAST_OPSET:
        raise CheckpointError(f"{source} is of opset {opset}; the quantisation needs {LEAST_OPSET} at least (training.opset_version)")
    axes = [dim.dim_param for dim in model.graph.input[0].type.tensor_type.shape.dim if dim.dim_param]
    if options.static_axis_name not in axes:
        fault = f"static_axis_name {options.static_axis_name!r} is no axis of {source}{did_you_mean(options.static_axis_name, axes)}"
        raise ConfigError(fault, "quantization")


def _preprocess(source: Path, path: Path) -> None:
    """Works out shapes and constants, and leaves the one opset that the file began with."""
    quant_pre_process(source, path, skip_symbolic_shape=True)  # which fails on some networks, and leaves a file where the program runs
    model, opset = onnx.load(path), max(entry.version for entry in load(source).opset_import if entry.domain in ("", "ai.onnx"))
    del model.opset_import[:]
    model.opset_import.extend([onnx.helper.make_opsetid("", opset)])
    onnx.save(model, path)


def _to_int8(made: Quantized, clips: Sequence[Clip], options: Quantization) -> None:
    operators = options.op_types_to_quantize
    try:
        quantize_static(
            made.preprocessed,
            made.dynamic,
            _Clips(onnx.load(made.preprocessed).graph.input[0].name, clips, equal=options.calibration_method != "MinMax"),
            quant_format=QuantFormat.QDQ,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QInt8,
            per_channel=options.per_channel,
            reduce_range=options.reduce_range,
            calibrate_method=CalibrationMethod[options.calibration_method],
            op_types_to_quantize=list(operators) if operators else None,
            extra_options=dict(options.extra_options),
        )
    except (TypeError, AttributeError, KeyError) as error:
        raise ConfigError(f"onnxruntime's quantiser refuses the options: {error}", "quantization") from error


def _fix_length(made: Quantized, options: Quantization) -> None:
    """One clip of so many frames: batch and length become numbers."""
    model = onnx.load(made.dynamic)
    for dim in model.graph.input[0].type.tensor_type.shape.dim:
        if dim.dim_param:
            make_dim_param_fixed(
                model.graph, dim.dim_param, options.static_sequence_length if dim.dim_param == options.static_axis_name else 1
            )
    fix_output_shapes(model)
    onnx.save(model, made.static)


class _Clips(CalibrationDataReader):
    """Feeds clip after clip to the calibration; histograms need them of equal length, so that all are cut to the shortest then."""

    def __init__(self, name: str, clips: Sequence[Clip], equal: bool):
        self._name, self._clips = name, clips
        self._frames = min(clip().shape[-1] for clip in clips) if equal else None
        self._left: Iterator[Clip] = iter(clips)

    def get_next(self) -> dict[str, np.ndarray] | None:
        clip = next(self._left, None)
        return None if clip is None else {self._name: np.ascontiguousarray(clip()[..., : self._frames], np.float32)}

    def rewind(self) -> None:
        self._left = iter(self._clips)
