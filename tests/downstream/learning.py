"""Trainings as a user starts them, and what they come to."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from downstream.blocks.recordings import SAMPLE_RATE, Recording
from run_downstream import main
from utility.audio.io import load_audio


def train(repo: Path, place: Path, task: str, config: str, override: str, seed: int, *more: str) -> Path:
    """Trains over the command line in a process of its own, as a README prints it; returns the experiment's folder.

    Args:
        repo: the root of the repository.
        place: where ``result/`` goes.
        task, config, override, seed: as on the command line; the upstream is ``fbank``.
        more: further words.
    """
    words = [sys.executable, str(repo / "run_downstream.py"), "-m", "train", "-u", "fbank", "-d", task, "-c", str(repo / config)]
    words += ["-n", task, "--seed", str(seed), "--device", "cpu", "-o", override, *more]
    place.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(words, cwd=place, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return place / "result/downstream" / task


def train_here(repo: Path, folder: Path, task: str, config: str, override: str, *more: str) -> Path:
    """The same in this process, for short trainings, into ``folder``."""
    words = ["-m", "train", "-u", "fbank", "-d", task, "-c", str(repo / config), "-p", str(folder), "--device", "cpu"]
    assert main([*words, "-o", override, *more]) == 0
    return folder


def best_dev(repo: Path, folder: Path) -> tuple[float, float]:
    """What ``utility/get_best_dev.py`` prints: the best dev accuracy and the test accuracy of the same step."""
    words = [sys.executable, str(repo / "utility/get_best_dev.py"), str(folder / "log.log")]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    return float(said[said.index("score") + 1]), float(said[-1])


def evaluated(folder: Path, split: str, checkpoint: str = "dev-best") -> dict[str, Any]:
    """The result file of ``-m evaluate``."""
    assert main(["-m", "evaluate", "-t", split, "-e", str(folder / f"{checkpoint}.ckpt"), "--device", "cpu"]) == 0
    return json.loads((folder / f"results/{checkpoint}/{split}.json").read_text())


def answers_for(recordings: Path, folder: Path, output: Path, checkpoint: str = "dev-best") -> list[dict[str, Any]]:
    """The answers of ``-m inference`` for a file or a folder."""
    words = ["-m", "inference", "-t", str(recordings), "-e", str(folder / f"{checkpoint}.ckpt"), "--device", "cpu"]
    assert main([*words, "--output", str(output)]) == 0
    return [json.loads(line) for line in output.read_text().splitlines()]


def heard(recordings: Iterable[Recording]) -> Iterator[tuple[np.ndarray, Any]]:
    """(waveform at 16 kHz, class) of each recording, for :func:`tests.downstream.baselines.baselines`."""
    return ((load_audio(recording.path, SAMPLE_RATE), recording.label) for recording in recordings)
