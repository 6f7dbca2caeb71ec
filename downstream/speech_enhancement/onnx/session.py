"""ONNX files that are run: magnitudes in, mask out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from google.protobuf.message import DecodeError

from utility.errors import CheckpointError, DataError

_QUANTIZED = {onnx.TensorProto.INT8, onnx.TensorProto.UINT8, onnx.TensorProto.INT16, onnx.TensorProto.UINT16}


def load(path: Path) -> onnx.ModelProto:
    """The content of an ONNX file.

    Raises:
        DataError: there is no such file.
        CheckpointError: it is no ONNX model.
    """
    if not path.is_file():
        raise DataError(f"there is no ONNX file {path}" + (", that is a folder" if path.is_dir() else ""))
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError, ValueError) as error:
        reason = (str(error).strip().splitlines() or ["damaged"])[0]
        raise CheckpointError(f"{path} is no ONNX model: {reason}") from error
    return model


def is_quantized(model: onnx.ModelProto) -> bool:
    """Whether any of its weights is a whole number of 8 or 16 bits."""
    return any(weight.data_type in _QUANTIZED for weight in model.graph.initializer)


def session_of(path: Path, threads: int | None = None) -> onnxruntime.InferenceSession:
    """A file in onnxruntime on the CPU, on so many threads (onnxruntime's choice by default)."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads:
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


class OnnxMask:
    """A mask network in an ONNX file, run by onnxruntime on the CPU.

    Args:
        path: the file.
        bins: F that the spectra have.
        threads: threads of one inference; onnxruntime's choice by default.

    Attributes:
        path: the file.
        frames: T, if the network takes this number only, otherwise None.
        quantized: whether it has quantised weights.

    Raises:
        DataError: there is no such file, or it takes another number of bins.
        CheckpointError: it is no ONNX model, or none that takes one tensor (B, F, T) and gives one.
    """

    def __init__(self, path: str | Path, bins: int, threads: int | None = None):
        self.path = Path(path)
        model = load(self.path)
        self.quantized = is_quantized(model)
        self._session = session_of(self.path, threads)
        self.frames = self._checked(bins)

    def _checked(self, bins: int) -> int | None:
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1 or len(inputs[0].shape) != 3:
            shapes = ", ".join(str(entry.shape) for entry in inputs)
            raise CheckpointError(f"{self.path} takes {shapes}; one input of the shape [batch, {bins}, frames] and one output are needed")
        taken, frames = inputs[0].shape[1:]
        if isinstance(taken, int) and taken != bins:
            fft, own = 2 * (taken - 1), 2 * (bins - 1)
            raise DataError(f"{self.path} takes spectra of {taken} bins (n_fft {fft}), but those of preprocessing.n_fft {own} have {bins}")
        return frames if isinstance(frames, int) else None

    def __call__(self, magnitudes: np.ndarray) -> np.ndarray:
        """(B, F, T) float32 -> (B, F, T).

        Raises:
            DataError: T is not the number of frames that the network takes.
        """
        if self.frames not in (None, magnitudes.shape[-1]):
            there, here = self.frames, magnitudes.shape[-1]
            way = f"evaluation.fixed_sequence_length: {there} cuts and pads to that, and the file with dynamic length takes any"
            raise DataError(f"{self.path} takes {there} frames at a time, not {here}; {way}")
        entry = self._session.get_inputs()[0].name
        return self._session.run(None, {entry: np.ascontiguousarray(magnitudes, np.float32)})[0]
