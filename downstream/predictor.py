"""A trained task from Python: ``torch.hub.load(REPO, "predictor", source="local", ckpt=...)``, and ``mos_predictor`` for opinion scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from downstream.inference import answer, load
from downstream.pipeline import Pipeline
from downstream.runner import resolve_device
from upstream import registry
from utility.errors import DataError, UsageError
from utility.experiment.command_line import parse
from utility.experiment.experiment import open_experiment
from utility.training.distributed import Team

TASKS = Path(__file__).resolve().parent


class Predictor:
    """Answers as ``-m inference`` gives them.

    Args:
        ckpt: a checkpoint of any task that has inference on single recordings, or its folder.
        device: ``auto``, ``cpu``, ``cuda`` ...
        override: as ``-o`` has it; "" changes nothing.

    Raises:
        ToolkitError: as on the command line.
    """

    def __init__(self, ckpt: str | Path, device: str = "auto", override: str = ""):
        words = ["-m", "inference", "-t", ".", "-e", str(ckpt), *(["-o", override] if override else [])]
        self.experiment = open_experiment(parse(words, registry.available, list), Team(), TASKS, registry.entries(registry.ROOT))
        self.pipeline = Pipeline(self.experiment, resolve_device(device), training=False)

    def __call__(self, recording: str | Path | Tensor | np.ndarray) -> dict[str, Any]:
        """The answer to a file of any rate and channels, or to a 1-D waveform at the task's rate; a task's ``as_loaded`` hears it first."""
        if isinstance(recording, (str, Path)):
            path, wav = Path(recording), load(self.pipeline.downstream, Path(recording))
        else:
            path, wav = Path("waveform"), torch.as_tensor(recording, dtype=torch.float32).cpu()
            if wav.dim() != 1:
                raise DataError(f"a waveform must have one dimension, not the shape {tuple(wav.shape)}")
            if not len(wav):
                raise DataError("the waveform holds no samples")
            wav = getattr(self.pipeline.downstream, "as_loaded", lambda own: own)(wav)
        with self.pipeline.evaluating():
            (given,) = answer(self.pipeline, (path,), [wav], self.experiment.args["seed"])
        return given


class MosPredictor(Predictor):
    """Scores of recordings; see :class:`Predictor`."""

    def predict(self, wav_path: str | Path | None = None, wav: Tensor | np.ndarray | None = None) -> np.float32:
        """The opinion score of a file, or of a 1-D waveform at 16 kHz on any device.

        Raises:
            UsageError: both are given, or none, or the checkpoint is of another task.
        """
        if (wav_path is None) == (wav is None):
            raise UsageError("predict takes either wav_path or wav")
        given = self(wav_path if wav is None else wav)
        if "score" not in given:
            raise UsageError(f"the checkpoint is of the task {self.experiment.args['downstream']!r}, which gives no scores")
        return np.float32(given["score"])
