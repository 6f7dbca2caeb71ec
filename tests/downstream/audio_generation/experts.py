"""Small tasks, and what they generate."""

from __future__ import annotations

from pathlib import Path

import torch
import yaml

from downstream.audio_generation.expert import DownstreamExpert
from downstream.interfaces import RunContext
from tests.downstream.audio_generation.layouts import config


def expert(place: Path, corpus: Path, family: str = "samplernn", mode: str = "evaluate", **sections) -> DownstreamExpert:
    """The task with the small network of a family; ``sections`` stand in for those of ``layouts.config``."""
    made = yaml.safe_load(config(place, corpus, family, **sections).read_text())
    torch.manual_seed(0)
    return DownstreamExpert(1, 1, made["downstream_expert"], place, runner=made["runner"], mode=mode)


def generate(task: DownstreamExpert, place: Path, seed: int = 0) -> dict:
    """``-t generate`` into ``place/samples``; its scores."""
    context = RunContext(lambda wavs: wavs, place, "cpu", seed)
    return task.eval().run("generate", context)
