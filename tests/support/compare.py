"""Whether two experiment folders hold the same run, to the last bit."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from utility.experiment.checkpoint import load
from utility.experiment.states import list_checkpoints
from utility.experiment.trackers import METRICS, WALL_CLOCK_FIELDS

SETTINGS = ("Args", "Config")  # name folders and numbers of workers
OF_A_RESULT = ("scores", "step", "items", "batches", "split", "checkpoint")


def differences(first: Any, second: Any, place: str = "") -> Iterator[str]:
    """Where two nested values differ; tensors bit by bit."""
    if type(first) is not type(second):
        yield f"{place}: {type(first).__name__} and {type(second).__name__}"
    elif isinstance(first, torch.Tensor):
        if first.dtype != second.dtype or first.shape != second.shape or first.numpy().tobytes() != second.numpy().tobytes():
            yield f"{place}: {first} and {second}"
    elif isinstance(first, Mapping):
        if list(first) != list(second):
            yield f"{place}: keys {list(first)} and {list(second)}"
        for key in first.keys() & second.keys():
            yield from differences(first[key], second[key], f"{place}/{key}")
    elif isinstance(first, (list, tuple)):
        if len(first) != len(second):
            yield f"{place}: {len(first)} and {len(second)} items"
        for number, (a, b) in enumerate(zip(first, second, strict=False)):
            yield from differences(a, b, f"{place}[{number}]")
    elif first != second:
        yield f"{place}: {first!r} and {second!r}"


def checkpoints_of(folder: Path) -> dict[str, dict[str, Any]]:
    """The content of each checkpoint by its file name, without the settings."""
    return {p.name: {k: v for k, v in load(p).items() if k not in SETTINGS} for p in list_checkpoints(folder)}


def metrics_of(folder: Path) -> list[dict[str, Any]]:
    """The lines of ``metrics.jsonl`` without their wall-clock fields."""
    lines = [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in WALL_CLOCK_FIELDS} for line in lines]


def results_of(folder: Path) -> dict[str, dict[str, Any]]:
    """What the result files say of the run, by their path below ``results/``."""
    found = {}
    for path in sorted((folder / "results").glob("**/*.json")):
        result = json.loads(path.read_text())
        found[str(path.relative_to(folder / "results"))] = {k: result[k] for k in OF_A_RESULT}
    return found


def assert_same_run(folder: Path, expected: Path, but: tuple[str, ...] = ()) -> None:
    """Fails, with the places, unless both folders hold equal checkpoints, logs and results and no line twice.

    Args:
        folder, expected: two experiment folders.
        but: entries of the checkpoints that may differ.
    """
    ours, theirs = ({n: {k: v for k, v in s.items() if k not in but} for n, s in checkpoints_of(f).items()} for f in (folder, expected))
    found = list(differences(ours, theirs, "checkpoints"))
    found += differences(metrics_of(folder), metrics_of(expected), METRICS)
    found += differences((folder / "log.log").read_bytes(), (expected / "log.log").read_bytes(), "log.log")
    found += differences(results_of(folder), results_of(expected), "results")
    lines = (folder / "log.log").read_text().splitlines() + [json.dumps(line) for line in metrics_of(folder)]
    found += [f"twice: {line}" for line in sorted(set(lines)) if lines.count(line) > 1]
    found += [f"left over: {path.name}" for path in folder.glob(".*.tmp*")]
    assert not found, "\n".join(found)
