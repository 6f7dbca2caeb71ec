"""Where the numbers of a run go while it runs: ``metrics.jsonl``, TensorBoard and, when asked, MLflow.

A task logs through TensorBoard's own methods (``add_scalar``, ``add_audio``, ``add_figure`` ...); the scalars are also collected, one
line of ``metrics.jsonl`` per logged split.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from utility.errors import ToolkitError
from utility.experiment.mlflow_run import MlflowRun, Store

METRICS = "metrics.jsonl"
WALL_CLOCK_FIELDS = ("time",)


class Tracker:
    """The ``logger`` that tasks get.

    Args:
        folder: the experiment folder; None collects the scalars only.
        tensorboard: write an event file into the folder.
        mlflow: also log to this store of MLflow's.
        step: the step that the run starts from; later events of an earlier, killed run are hidden by TensorBoard.
    """

    def __init__(self, folder: Path | None = None, tensorboard: bool = False, mlflow: Store | None = None, step: int = 0):
        self.scalars: dict[str, float] = {}
        self._mlflow = MlflowRun(folder, mlflow) if folder and mlflow else None
        self._metrics = (folder / METRICS).open("a", encoding="utf-8") if folder else None
        self._writer = _event_writer(folder, step) if folder and tensorboard else None

    def add_scalar(self, tag: str, scalar_value: Any, global_step: int | None = None, *args: Any, **kwargs: Any) -> None:
        """Logs one number; a tensor of one element is a number."""
        value = float(scalar_value)
        self.scalars[tag] = value
        if self._writer is not None:
            self._writer.add_scalar(tag, value, global_step, *args, **kwargs)
        if self._mlflow is not None:
            self._mlflow.log(tag, value, global_step or 0)

    def __getattr__(self, name: str) -> Any:
        """TensorBoard's other ``add_*`` methods, which do nothing where no event file is written."""
        if not name.startswith("add_"):
            raise AttributeError(name)
        return getattr(self._writer, name) if self._writer is not None else _ignore

    def take(self) -> dict[str, float]:
        """The scalars logged since the last call."""
        scalars, self.scalars = self.scalars, {}
        return scalars

    def write_line(self, numbers: Mapping[str, Any], **place: Any) -> None:
        """Appends one line to ``metrics.jsonl``.

        Args:
            numbers: by name; one that is called like a field of the line becomes ``task/<name>``.
            place: where they belong: step, epoch, split. ``time`` (local, ISO 8601, always as wide) is added.
        """
        if self._metrics is not None:
            named = {f"task/{name}" if name in (*place, *WALL_CLOCK_FIELDS) else name: number for name, number in numbers.items()}
            line = {**place, **named, "time": datetime.now().isoformat(timespec="milliseconds")}
            with self._one_sentence():
                self._metrics.write(json.dumps(finite(line)) + "\n")
                self._metrics.flush()

    def sync(self) -> None:
        """Brings everything onto the disk, so that a checkpoint can refer to it."""
        if self._metrics is not None:
            with self._one_sentence():
                os.fsync(self._metrics.fileno())
        if self._writer is not None:
            self._writer.flush()

    @contextmanager
    def _one_sentence(self) -> Iterator[None]:
        """What the disk refuses now it would refuse again when the file is closed, so the file is given up."""
        file = self._metrics
        try:
            yield
        except OSError as error:
            self._metrics = None
            with suppress(OSError):
                file.close()
            raise ToolkitError(f"could not write {file.name}: {error.strerror or error}; every checkpoint is as it was") from error

    def close(self) -> None:
        """Ends the files of the run."""
        if self._metrics is not None:
            self._metrics.close()
        if self._writer is not None:
            self._writer.close()
        if self._mlflow is not None:
            self._mlflow.close()


def _event_writer(folder: Path, step: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step + 1)


def _ignore(*args: Any, **kwargs: Any) -> None:
    """Stands for a TensorBoard method where there is no event file."""


def finite(value: Any) -> Any:
    """JSON knows no NaN and no infinity: they are written as strings, in nested mappings too."""
    if isinstance(value, Mapping):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
