"""An upstream and an untrained task as the Runner puts them together."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from downstream.pipeline import Pipeline
from run_downstream import TASKS
from upstream import registry
from utility.experiment.command_line import parse
from utility.experiment.experiment import open_experiment
from utility.training.distributed import Team


def untrained(task: str, folder: Path, *more: str, upstream: str = "fbank") -> Pipeline:
    """What ``-m evaluate`` builds without a checkpoint, in evaluation mode and with weights that are always the same.

    Args:
        task, upstream: as for ``-d`` and ``-u``.
        folder: of the experiment.
        more: further words of the command line.
    """
    words = ["-m", "evaluate", "-t", "test", "-u", upstream, "-d", task, "-p", str(folder), "--device", "cpu", *more]
    experiment = open_experiment(parse(words, list, list), Team(), TASKS, registry.entries(registry.ROOT))
    torch.manual_seed(0)
    pipeline = Pipeline(experiment, "cpu", training=False)
    for part in pipeline.parts:
        part.eval()
    return pipeline


def noises(*samples: int) -> list[Tensor]:
    """Noise of these lengths."""
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(count, generator=generator) * 0.1 for count in samples]
