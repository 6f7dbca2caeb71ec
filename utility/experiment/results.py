"""The record of one evaluation: scores with what is needed to trace them."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, TypedDict

from utility.experiment.texts import write_text
from utility.experiment.trackers import finite

PACKAGES = ("torch", "torchaudio", "transformers", "numpy", "scipy", "soundfile", "soxr", "librosa")


class ScoreRecord(TypedDict):
    """One score; ``higher_is_better`` and ``unit`` are null for a number that the task logged without saying."""

    value: float | str
    higher_is_better: bool | None
    unit: str | None


class Result(TypedDict):
    """The content of ``results/<checkpoint>/<split>.json``."""

    upstream: str
    downstream: str
    task_version: int
    split: str
    checkpoint: str | None
    step: int
    scores: dict[str, ScoreRecord]
    items: int
    batches: int
    args: dict[str, Any]
    config: dict[str, Any]
    git: str | None
    versions: dict[str, str]
    device: str
    date: str
    wall_seconds: float
    peak_memory_mb: float


def score_records(scores: Mapping[str, Any], scalars: Mapping[str, float]) -> dict[str, ScoreRecord]:
    """The task's declared scores first, then what else it logged under its tags."""
    declared = {k: ScoreRecord(value=s.value, higher_is_better=s.higher_is_better, unit=s.unit) for k, s in scores.items()}
    logged = {k: ScoreRecord(value=v, higher_is_better=None, unit=None) for k, v in scalars.items()}
    return declared | logged


def provenance(device: str) -> dict[str, Any]:
    """Git hash, library versions, device and date."""
    return {"git": git_hash(), "versions": versions(), "device": device, "date": time.strftime("%Y-%m-%dT%H:%M:%S%z")}


def write(result: Result, path: Path) -> Path:
    """Writes a result as indented JSON, by way of a temporary file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_text(path, json.dumps(finite(result), indent=1, default=str) + "\n")


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the installed packages that can move a number."""
    found = {"python": sys.version.split()[0], "system": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "absent"
    return found


@cache
def git_hash() -> str | None:
    """The commit of this source tree (with ``+`` when files differ from it), None outside a checkout."""
    here = Path(__file__).resolve().parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=40", "--exclude=*"], cwd=here, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return described.stdout.strip() or None


def peak_memory_mb(device: str) -> float:
    """Highest memory use of this process so far: of the GPU where there is one, otherwise resident memory, in MiB."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated(device) / 2**20
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
