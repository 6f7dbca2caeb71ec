"""What is done with a trained network beside scoring a split: ``-m evaluate -t export`` and the other names of :data:`RUNS`."""

from __future__ import annotations

import logging
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from downstream.interfaces import RunContext, Score
from utility.audio.io import find_audio, load_audio
from utility.errors import ConfigError, DataError, UsageError

from .deployment import Deployment, deploy
from .evaluation import evaluate, write
from .masking import Mask, mask_of
from .onnx import benchmark, streamed
from .onnx.export import TIME, export
from .onnx.options import Benchmarking, Evaluation, Quantization, optional_path, section_of
from .onnx.quantization import DYNAMIC, STATIC, Clip, quantize
from .onnx.session import OnnxMask

log = logging.getLogger(__name__)

BEST, LAST, STEP = "best_trained_model.onnx", "trained_model.onnx", "streaming_step.onnx"
Scores = Mapping[str, Score]
METRICS = ("pesq", "stoi", "snr", "si-snr", "mse")
_STREAMED = 20  # recordings


def saved_models(expert: Any) -> Path:
    """The folder of the ONNX files of an experiment."""
    return expert.expdir / (optional_path(expert.settings, "general", "saved_models_dir") or "saved_models")


def export_float(expert: Any, context: RunContext) -> Path:
    """Writes the network of the checkpoint as a float ONNX file and returns it; the best checkpoint's has a name of its own."""
    name = BEST if "best" in context.results_dir.name else LAST
    return export(expert.model, saved_models(expert) / name, expert.stft.options.bins, _opset(expert))


def _opset(expert: Any) -> int:
    given = (expert.settings.get("training") or {}).get("opset_version")
    return 17 if given is None else given


def run_export(expert: Any, context: RunContext) -> Scores:
    """``-t export``."""
    return {"onnx_size": _kibibytes(export_float(expert, context))}


def run_quantize(expert: Any, context: RunContext) -> Scores:
    """``-t quantize``: the file of ``model.onnx_path``, or the network of the checkpoint, to int8."""
    options = section_of(Quantization, expert.settings, "quantization")
    source = _float_file(expert, context)
    made = quantize(source, saved_models(expert), calibration_clips(expert, options, context.seed), options)
    ratio = 100 * made.dynamic.stat().st_size / source.stat().st_size
    return {"int8_size": _kibibytes(made.dynamic), "float_size": _kibibytes(source), "size_ratio": Score(ratio, False, "percent")}


def calibration_clips(expert: Any, options: Quantization, seed: int) -> list[Clip]:
    """Noisy recordings that the ranges are measured on, drawn with the seed of the section, of the data set, or else of the experiment."""
    folder, rate = options.noisy_quantization_files_path, expert.stft.options.sample_rate
    if folder is None:
        loads = [lambda pair=pair: expert.load(pair)[0] for pair in expert.corpus_of("train")]
    else:
        loads = [lambda path=path: torch.from_numpy(load_audio(path, rate)) for path in find_audio(folder)]
    if not loads:
        raise DataError(f"the quantisation has no recordings to measure ranges on in {folder or 'the training set'}")
    seeds = (options.random_seed, (expert.settings.get("dataset") or {}).get("random_seed"), seed)
    chosen = _drawn(loads, options.num_quantization_samples, next(value for value in seeds if value is not None))
    return [lambda load=load: expert.stft.magnitude(load()).unsqueeze(0).numpy() for load in chosen]


def _drawn(items: list, count: int | float | None, seed: int) -> list:
    """So many, or such a part, of the items; all of them in their order without a count."""
    if count is None:
        return items
    number = int(count * len(items)) if isinstance(count, float) else count
    if not number:
        raise ConfigError(f"num_quantization_samples {count} of {len(items)} recordings is none", "downstream_expert.quantization")
    if number > len(items):
        log.warning("num_quantization_samples is %d, but there are %d recordings: all are taken", number, len(items))
        return items
    return random.Random(seed).sample(items, number)


def run_evaluate(expert: Any, context: RunContext) -> Scores:
    """``-t evaluate``: the file of ``model.onnx_path``, float or int8, or else the float ONNX file of the checkpoint."""
    return _evaluate(expert, context, _file_mask(expert, _given(expert) or export_float(expert, context)), "evaluate")


def run_evaluate_torch(expert: Any, context: RunContext) -> Scores:
    """``-t evaluate_torch``: the checkpoint itself, on ``evaluation.device``."""
    device = section_of(Evaluation, expert.settings, "evaluation").device or context.device
    try:
        expert.model.to(device).eval()
    except RuntimeError as error:
        raise ConfigError(f"device {device!r} is not there: {str(error).splitlines()[0]}", "downstream_expert.evaluation") from error
    try:
        return _evaluate(expert, context, mask_of(expert.model, device), "evaluate_torch")
    finally:
        expert.model.to(context.device)


def run_evaluate_quantized(expert: Any, context: RunContext) -> Scores:
    """``-t evaluate_quantized``: the int8 file that ``-t quantize`` wrote."""
    path = saved_models(expert) / DYNAMIC
    if not path.is_file():
        raise UsageError(f"there is no {path}; -m evaluate -t quantize writes it")
    return _evaluate(expert, context, _file_mask(expert, path), "evaluate_quantized")


def run_benchmark(expert: Any, context: RunContext) -> Scores:
    """``-t benchmark``: size, work, memory and speed of a file.

    The file of ``model.onnx_path``, or the int8 file of a fixed length if there is one, or the float file of the checkpoint.
    """
    static = saved_models(expert) / STATIC
    path = _given(expert) or (static if static.is_file() else export_float(expert, context))
    options = section_of(Benchmarking, expert.settings, "benchmarking")
    tool = (expert.settings.get("tools") or {}).get("stedgeai") or {}
    return benchmark.run(path, expert.stft.options, options, tool, context.results_dir / "benchmark")


def run_stream(expert: Any, context: RunContext) -> Scores:
    """``-t stream``: the checkpoint on test recordings that come in hop by hop, with patches and look-ahead of ``deployment``."""
    expert.model.cpu().eval()
    try:
        section = expert.settings.get("deployment") or {}
        patch, ahead = (section.get(name) for name in ("frames_per_patch", "lookahead_frames"))
        mask, stft = _file_mask(expert, export_float(expert, context)), expert.stft
        step = saved_models(expert) / STEP
        fresh = streamed.masks_of(expert.model, mask, stft.options.bins, patch, ahead, step, _opset(expert))
        return streamed.measure((expert.load(pair)[0] for pair in expert.corpus_of("test")[:_STREAMED]), stft, mask, fresh)
    finally:
        expert.model.to(context.device)


def run_deploy(expert: Any, context: RunContext) -> Scores | None:
    """``-t deploy``: what a device needs beside the int8 file."""
    return deploy(expert, context)


RUNS: dict[str, Callable[[Any, RunContext], Scores | None]] = {
    "export": run_export,
    "quantize": run_quantize,
    "evaluate": run_evaluate,
    "evaluate_torch": run_evaluate_torch,
    "evaluate_quantized": run_evaluate_quantized,
    "benchmark": run_benchmark,
    "stream": run_stream,
    "deploy": run_deploy,
}


def check_sections(settings: Mapping[str, Any]) -> None:
    """Refuses, before a training, what would end the operations after it.

    Raises:
        ConfigError: unknown fields and impossible values of their sections.
    """
    for kind, name in ((Evaluation, "evaluation"), (Benchmarking, "benchmarking"), (Deployment, "deployment")):
        section_of(kind, settings, name)
    axis = section_of(Quantization, settings, "quantization").static_axis_name
    if axis != TIME:
        raise ConfigError(f"static_axis_name must be {TIME!r}, as the exported axis is called, not {axis!r}", "quantization")


def _given(expert: Any) -> Path | None:
    """The file of ``model.onnx_path``, if the config names one."""
    path = optional_path(expert.settings, "model", "onnx_path")
    return Path(path) if path else None


def _float_file(expert: Any, context: RunContext) -> Path:
    return _given(expert) or export_float(expert, context)


def _file_mask(expert: Any, path: Path) -> OnnxMask:
    return OnnxMask(path, expert.stft.options.bins)


def _evaluate(expert: Any, context: RunContext, mask: Mask, name: str) -> Scores:
    """Results lie in ``evaluation.logs_path`` of the experiment (int8: ``..._quantized``), or else beside those of the checkpoint."""
    options = section_of(Evaluation, expert.settings, "evaluation")
    metrics = options.metrics or (expert.settings.get("training") or {}).get("metrics") or METRICS
    found = evaluate(expert.corpus_of("test"), expert.load, expert.stft, mask, metrics, options.fixed_sequence_length, name)
    folder = context.results_dir / name
    write(found, folder)
    if options.logs_path:
        logs = str(options.logs_path).rstrip("/") + ("_quantized" if name == "evaluate_quantized" else "")
        shutil.copytree(folder, expert.expdir / logs, dirs_exist_ok=True)
    return found.scores()


def _kibibytes(path: Path) -> Score:
    return Score(path.stat().st_size / 1024, False, "KiB")
