"""The config sections ``quantization``, ``evaluation`` and ``benchmarking``, with every fault said at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import onnx

from utility.errors import ConfigError, did_you_mean, nearest
from utility.metrics.enhancement import METRICS
from utility.networks.fields import filled, names_of
from utility.training.fields import check_fields

CALIBRATIONS = ("MinMax", "Entropy", "Percentile", "Distribution")
EXTRA = (  # what onnxruntime's static quantisation reads, and takes no notice of when it is misspelt
    *("ActivationRestrictedAsymmetric", "ActivationSymmetric", "AddQDQPairToWeight", "CalibMaxIntermediateOutputs", "CalibMovingAverage"),
    *("CalibMovingAverageConstant", "CalibPercentile", "CalibStridedMinMax", "CalibTensorRangeSymmetric", "DedicatedQDQPair"),
    *("DefaultTensorType", "EnableSubgraph", "ForceQuantizeNoInputCheck", "MatMulConstBOnly", "MinimumRealRange"),
    *("OpTypesToExcludeOutputQuantization", "QDQDisableWeightAdjustForInt32Bias", "QDQKeepRemovableActivations"),
    *("QDQOpTypePerChannelSupportToAxis", "QuantizeBias", "SmoothQuant", "SmoothQuantAlpha", "SmoothQuantFolding", "TensorQuantOverrides"),
    *("UseQDQContribOps", "WeightSymmetric"),
)
Section = TypeVar("Section")


@dataclass(frozen=True)
class Quantization:
    """How an ONNX file becomes int8; names and defaults are those of the STM32 zoo.

    Args:
        num_quantization_samples: clips that the ranges are measured on, a number or a part of all; all by default.
        random_seed: draws them; the seed of the data set by default.
        noisy_quantization_files_path: a folder to draw them from; the training set by default.
        static_sequence_length: frames of the file with a fixed length.
        static_axis_name: the axis that is fixed.
        per_channel: weights have a scale for each output channel.
        calibration_method: one of :data:`CALIBRATIONS`.
        op_types_to_quantize: operators; None: all that the quantiser knows.
        reduce_range: weights of 7 bits. (In onnxruntime 1.20 it had an effect with ``per_channel`` only.)
        extra_options: further ones of ``onnxruntime.quantization.quantize_static``. ``CalibMovingAverage``: a range reaches from
            the mean of the clips' least values to the mean of their greatest ones, so that loud clips saturate.
    """

    num_quantization_samples: Any = None
    random_seed: Any = None
    noisy_quantization_files_path: Any = None
    static_sequence_length: int = 40
    static_axis_name: str = "seq_len"
    per_channel: bool = True
    calibration_method: str = "MinMax"
    op_types_to_quantize: Any = ("Add", "Conv", "Relu")
    reduce_range: bool = False
    extra_options: Mapping[str, Any] = field(default_factory=lambda: {"CalibMovingAverage": True})

    def faults(self) -> list[str]:
        faults = _count_faults("static_sequence_length", self.static_sequence_length)
        if self.calibration_method not in CALIBRATIONS:
            faults.append(f"calibration_method {self.calibration_method!r} is unknown{did_you_mean(self.calibration_method, CALIBRATIONS)}")
        count = self.num_quantization_samples
        if count is not None and (isinstance(count, bool) or not isinstance(count, (int, float)) or count <= 0):
            faults.append(f"num_quantization_samples must be a positive number or empty, not {count!r}")
        if isinstance(count, float) and count > 1:
            faults.append(f"num_quantization_samples {count} as a part is more than all")
        if not isinstance(self.extra_options, Mapping):
            return [*faults, f"extra_options must be a section, not {self.extra_options!r}"]
        faults += [f"extra option {name!r} is unknown{did_you_mean(str(name), EXTRA)}" for name in self.extra_options if name not in EXTRA]
        return faults + self._operator_faults()

    def _operator_faults(self) -> list[str]:
        operators = self.op_types_to_quantize or ()
        if not isinstance(operators, (list, tuple)):
            return [f"op_types_to_quantize must be a list of operators, not {operators!r}"]
        known = {schema.name for schema in onnx.defs.get_all_schemas()}
        wrong = [str(name) for name in operators if name not in known]
        return [f"{name!r} in op_types_to_quantize is no operator of ONNX{_meant(name, known)}" for name in wrong]


@dataclass(frozen=True)
class Evaluation:
    """What is evaluated on the test set.

    Args:
        logs_path: folder of the results, beneath the experiment's; by default that of the checkpoint's results.
        device: of torch models; that of the command line by default.
        fixed_sequence_length: spectra are cut, or padded with zeros, to so many frames, and so are the scores; whole clips by default.
        metrics: of :data:`utility.metrics.enhancement.METRICS`; those of ``training`` by default.
    """

    logs_path: Any = None
    device: Any = None
    fixed_sequence_length: Any = None
    metrics: Any = None

    def faults(self) -> list[str]:
        frames = self.fixed_sequence_length
        faults = [] if frames is None else _count_faults("fixed_sequence_length", frames)
        if self.metrics is None:
            return faults
        if not isinstance(self.metrics, (list, tuple)) or not self.metrics:
            return [*faults, f"metrics must be a list of names, not {self.metrics!r}"]
        return faults + [f"metric {name!r} is unknown{did_you_mean(str(name), METRICS)}" for name in self.metrics if name not in METRICS]


@dataclass(frozen=True)
class Benchmarking:
    """What is measured of a file.

    Args:
        board: of the ST tools; a name that is printed without them.
        threads: of onnxruntime.
        repetitions: inferences, of which the median counts.
    """

    board: str = "STM32N6570-DK"
    threads: int = 1
    repetitions: int = 30

    def faults(self) -> list[str]:
        return _count_faults("threads", self.threads) + _count_faults("repetitions", self.repetitions)


def section_of(kind: type[Section], settings: Mapping[str, Any], name: str) -> Section:
    """A section of the task's settings; empty fields keep their defaults.

    Raises:
        ConfigError: unknown fields, wrong types, impossible values.
    """
    source = f"downstream_expert.{name}"
    given = settings.get(name) or {}
    check_fields(given, names_of(kind), source=source)
    return filled(kind, {key: value for key, value in given.items() if value is not None}, source)


def optional_path(settings: Mapping[str, Any], section: str, field_name: str) -> str | None:
    """A field of a section that names a file or folder, or None where it is empty.

    Raises:
        ConfigError: it is no text.
    """
    value = (settings.get(section) or {}).get(field_name)
    if value is not None and not isinstance(value, str):
        raise ConfigError(f"{field_name} should be a path, not {value!r}", f"downstream_expert.{section}")
    return value or None


def _meant(name: str, known: Collection[str]) -> str:
    guess = nearest(name, known)
    return f"; did you mean {guess!r}?" if guess else ""


def _count_faults(name: str, value: Any) -> list[str]:
    return [] if type(value) is int and value > 0 else [f"{name} must be a positive whole number, not {value!r}"]
