"""Size, work, memory and speed of an ONNX file: by ST Edge AI Core where it is installed, and in any case by onnxruntime."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from downstream.interfaces import Score
from utility.audio.stft import StftOptions

from . import stedgeai
from .footprint import footprint
from .options import Benchmarking
from .session import OnnxMask

REPORT = "report.json"


def run(path: Path, stft: StftOptions, options: Benchmarking, tool: Mapping[str, Any], folder: Path) -> dict[str, Score]:
    """Measures, writes ``report.json`` into ``folder`` and returns the figures.

    Args:
        path: the ONNX file; one of dynamic length is given a second.
        stft: the transform that it is for.
        options: threads and repetitions.
        tool: the config section ``tools.stedgeai``.
        folder: of the results; files of ST's tool go to ``stm32ai_files`` in it.

    Raises:
        ToolkitError: the file is no mask for this transform, or ST's tool was asked for and fails.
    """
    mask = OnnxMask(path, stft.bins, options.threads)
    frames = mask.frames or round(stft.sample_rate / stft.hop_length)
    found = footprint(path, stft.bins, frames)
    seconds = latency(mask, stft.bins, frames, options.repetitions)
    audio = frames * stft.hop_length / stft.sample_rate
    folder.mkdir(parents=True, exist_ok=True)
    st = stedgeai.footprints(path, options.board, tool, folder / "stm32ai_files")
    report = {
        "file": str(path),
        "file_bytes": path.stat().st_size,
        "quantized": mask.quantized,
        **asdict(found),
        "latency_seconds": seconds,
    }
    report |= {"real_time_factor": seconds / audio, "threads": options.threads, "board": options.board, "stedgeai": st}
    (folder / REPORT).write_text(json.dumps(report, indent=4), encoding="utf-8")
    scores = {
        "file_size": Score(path.stat().st_size / 1024, False, "KiB"),
        "parameters": Score(found.parameters, False, "count"),
        "weights": Score(found.weight_bytes / 1024, False, "KiB"),
        "activations": Score(found.peak_bytes / 1024, False, "KiB"),
        "macs": Score(found.macs / 1e6, False, "million"),
        "macs_per_second": Score(found.macs / audio / 1e6, False, "million"),
        "inference_time": Score(1000 * seconds, False, "ms"),
        "real_time_factor": Score(seconds / audio, False, "fraction"),
    }
    return scores | {f"stedgeai_{name}": Score(value, False, unit) for name, (value, unit) in (st or {}).items()}


def latency(mask: Callable[[np.ndarray], np.ndarray], bins: int, frames: int, repetitions: int) -> float:
    """Seconds of one inference on a clip of so many frames, the median of ``repetitions`` after two for warming up."""
    clip = np.abs(np.random.default_rng(0).normal(size=(1, bins, frames))).astype(np.float32)
    spent = []
    for _ in range(repetitions + 2):
        start = time.perf_counter()
        mask(clip)
        spent.append(time.perf_counter() - start)
    return statistics.median(spent[2:])
