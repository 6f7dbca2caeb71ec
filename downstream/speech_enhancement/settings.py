"""The sections of ``downstream_expert``, checked; fields have the names of the STM32 model zoo (spec: speech-enhancement.md A5.2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from downstream.blocks.enhancement.batching import STRATEGIES
from downstream.blocks.enhancement.losses import build_loss
from utility.audio.stft import StftOptions
from utility.errors import ConfigError
from utility.metrics.enhancement import METRICS
from utility.metrics.enhancement.perceptual import WIDE_RATE
from utility.training.fields import Count, CountFromZero, check_fields, check_name, check_options, check_sections, keywords_of, made_of

from .onnx.export import OPSETS
from .progress import REFERENCES
from .regularisation import Regularisation

SOURCE = "config.downstream_expert"
SECTIONS = ("dataset", "preprocessing", "model", "model_specific", "training", "inference", "datarc")
OF_OPERATIONS = ("general", "quantization", "evaluation", "tools", "benchmarking", "deployment", "mlflow")
PIPELINE = "LibrosaSpecPipeline"
ELSEWHERE = {
    "epochs": "runner.total_epochs",
    "device": "--device",
    "optimizer": "the section optimizer",
    "optimizer_arguments": "the section optimizer",
    "snapshot_path": "-e",
}


@dataclass(frozen=True)
class Training:
    """The section ``training``.

    Args:
        loss: a name, or names with weights.
        batching_strategy: ``pad`` or ``trim``.
        batch_size: pairs; evaluations take one at a time.
        num_dataloader_workers: processes that read ahead.
        reference_metric: what the best model and early stopping go by.
        early_stopping, early_stopping_patience: whether, and after how many evaluations without a better one beyond the first.
        regularization: see :class:`Regularisation`.
        save_every: evaluations from one ``checkpoint_epoch_<n>`` to the next.
        ckpt_path: their folder within that of the experiment.
        logs_filename: the table in ``training_logs/``.
        opset_version: of ONNX, for the export.
        crop_seconds: train on random parts of this length; None: whole recordings.
        metrics: what is measured in evaluations.
        published: pad as the zoo does, whose loss is averaged over padding too.
    """

    loss: str | Mapping = "spec_mse"
    batching_strategy: str = "pad"
    batch_size: Count = 16
    num_dataloader_workers: CountFromZero = 0
    reference_metric: str = "pesq"
    early_stopping: bool = True
    early_stopping_patience: CountFromZero = 20
    regularization: Mapping | None = None
    save_every: Count = 2
    ckpt_path: str = "ckpts/"
    logs_filename: str = "training_logs.csv"
    opset_version: Count = 17
    crop_seconds: float | None = None
    metrics: Sequence[str] = ("pesq", "stoi", "snr", "si-snr", "mse")
    published: bool = False


@dataclass(frozen=True)
class Settings:
    """Everything of ``downstream_expert`` that training needs.

    Args:
        training: the section of that name.
        regularisation: its part ``regularization``.
        stft: the section ``preprocessing``.
        model, model_specific: the sections of these names.
        inference: ``spectrograms``: pictures before and after.
    """

    training: Training
    regularisation: Regularisation
    stft: StftOptions
    model: Mapping[str, Any]
    model_specific: Mapping[str, Any]
    inference: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Settings:
        """From ``downstream_expert``.

        Raises:
            ConfigError, UnknownNameError: fields that do not exist or are impossible.
        """
        check_fields(config, (*SECTIONS, *OF_OPERATIONS), ("dataset", "preprocessing", "model"), source=SOURCE)
        check_sections(config, SECTIONS, source=SOURCE, null=SECTIONS)
        sections = {name: without_nulls(config.get(name) or {}) for name in SECTIONS}
        check_fields(sections["model"], ("model_type", "state_dict_path", "onnx_path"), source=f"{SOURCE}.model")
        check_fields(sections["inference"], ("spectrograms",), source=f"{SOURCE}.inference")
        check_fields(sections["datarc"], ("num_workers",), source=f"{SOURCE}.datarc")
        training = _training(sections["training"], sections["datarc"])
        regularisation = Regularisation.of(training.regularization, f"{SOURCE}.training.regularization")
        stft = _stft(sections["preprocessing"])
        if faults := [*_misfits(training, stft), *_memory_faults(config.get("general") or {})]:
            raise ConfigError(faults, SOURCE)
        return cls(training, regularisation, stft, sections["model"], sections["model_specific"], sections["inference"])


def without_nulls(section: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that have a value; the others have their defaults."""
    return {name: value for name, value in section.items() if value is not None}


def _training(section: Mapping[str, Any], datarc: Mapping[str, Any]) -> Training:
    source = f"{SOURCE}.training"
    if faults := [f"{name} belongs elsewhere: {ELSEWHERE[name]}" for name in section if name in ELSEWHERE]:
        raise ConfigError(faults, source)
    section = section | ({"num_dataloader_workers": datarc["num_workers"]} if "num_workers" in datarc else {})
    training = made_of(Training, section, source=source)
    build_loss(training.loss, f"{source}.loss")
    check_name(f"{source}.batching_strategy", training.batching_strategy, STRATEGIES)
    check_name(f"{source}.reference_metric", training.reference_metric, REFERENCES)
    for name in training.metrics:
        check_name(f"metric in {source}.metrics", name, METRICS)
    measured = REFERENCES[training.reference_metric].metric
    if measured is not None and measured not in training.metrics:
        raise ConfigError(f"reference_metric {training.reference_metric} needs {measured!r} among the metrics", source)
    if training.opset_version not in OPSETS:
        raise ConfigError(f"opset_version must be a whole number from {OPSETS[0]} to {OPSETS[-1]}, not {training.opset_version}", source)
    if Path(training.logs_filename).name != training.logs_filename:
        raise ConfigError(f"logs_filename must be the name of a file, not {training.logs_filename!r}", source)
    return training


def _misfits(training: Training, stft: StftOptions) -> Iterator[str]:
    """What does not go with the transform."""
    least = stft.win_length / stft.sample_rate
    if training.crop_seconds is not None and not training.crop_seconds >= least:
        yield f"training.crop_seconds must be a window ({least:g} s) at least, not {training.crop_seconds!r}"
    if "pesq" in training.metrics and stft.sample_rate < WIDE_RATE:
        yield f"the metric pesq needs a sample_rate of {WIDE_RATE}, not {stft.sample_rate}; narrow-band PESQ is called pesq_nb"


def _memory_faults(general: Mapping[str, Any]) -> Iterator[str]:
    limit = general.get("gpu_memory_limit")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int | float) or not 0 < limit <= 1):
        yield f"general.gpu_memory_limit must be a part above 0 and up to 1, not {limit!r}"


def _stft(section: Mapping[str, Any]) -> StftOptions:
    source = f"{SOURCE}.preprocessing"
    kind, given = section.get("pipeline_type", PIPELINE), {name: value for name, value in section.items() if name != "pipeline_type"}
    if kind != PIPELINE:
        raise ConfigError(f"pipeline_type must be {PIPELINE}, not {kind!r}: networks read magnitudes of spectra", source)
    check_fields(given, keywords_of(StftOptions), source=source)
    check_options(StftOptions, given, source=source)
    window = given.get("window", "hann")
    options = StftOptions(**given | {"window": tuple(window) if isinstance(window, list) else window})
    if not options.center:
        raise ConfigError("center must be True: spectra that are not centred have no inverse at their edges", source)
    if not options.has_inverse:
        sizes = f"hop_length {options.hop_length} and a {options.window} window of {options.win_length}"
        raise ConfigError(f"{sizes} leave samples that no frame reaches: hop_length must be smaller", source)
    return options
