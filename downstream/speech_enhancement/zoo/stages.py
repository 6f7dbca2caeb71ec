"""Operation modes of the zoo as stages: which work follows which, and on which file."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from utility.experiment.plan import BEST, LAST, Stage

from .fields import MODES, at
from .report import lines_of

_WORK = {"q": "quantize", "b": "benchmark", "d": "deploy"}
_STATIC = "quantized_model_int8_static.onnx"  # in saved_models/, as operations.py writes it


@dataclass(frozen=True)
class Chain:
    """What all stages of a run share.

    Args:
        mode: the operation mode.
        config: the translated config.
        folder: of the experiment.
        device: of the training.
        evaluation_device: of evaluations of torch models.
        weights: checkpoint to take weights from, or None.
        past: checkpoint to take up whole, or None.
    """

    mode: str
    config: dict[str, Any]
    folder: str
    device: str = "auto"
    evaluation_device: str = "auto"
    weights: str | None = None
    past: str | None = None

    def stages(self) -> tuple[Stage, ...]:
        """The stages in order. After a training the best checkpoint is exported and goes on; a chain that quantizes goes on with int8."""
        return tuple(self._stages())

    def _stages(self) -> Iterator[Stage]:
        letters, weights = MODES[self.mode], self.weights
        quantized = False
        for letter in letters:
            if letter == "t":
                yield Stage(
                    "train", self.config, self.folder, weights=weights, past=self.past, device=self.device, report=self._report("train")
                )
                yield self._work("export", LAST)
                weights = BEST
                yield self._work("export", weights)
                if "e" in letters:
                    yield self._work("evaluate", weights)
            elif letter == "e":
                yield self._evaluation(weights, quantized)
            else:
                yield self._work(_WORK[letter], weights, quantized)
                quantized = quantized or letter == "q"

    def _evaluation(self, weights: str | None, quantized: bool) -> Stage:
        if quantized:
            return self._work("evaluate_quantized", weights)
        torch_model = weights is not None or (not at(self._task, "model.onnx_path") and at(self._task, "model.state_dict_path"))
        return self._work("evaluate_torch" if torch_model else "evaluate", weights)

    def _work(self, name: str, weights: str | None, quantized: bool = False) -> Stage:
        """One of the task's operations; ``quantized``: on the int8 file of a fixed length that an earlier stage has written."""
        config = copy.deepcopy(self.config)
        model = config["downstream_expert"]["model"]
        if quantized:
            model["onnx_path"] = str(Path(self.folder) / self._saved_models / _STATIC)
        elif weights is not None:  # the checkpoint, whatever file is named
            model.pop("onnx_path", None)
        device = self.evaluation_device if name == "evaluate_torch" else "auto"
        return Stage("evaluate", config, self.folder, (name,), weights=weights, device=device, report=self._report(name))

    def _report(self, name: str) -> Any:
        return partial(lines_of, name=name)

    @property
    def _task(self) -> dict[str, Any]:
        return self.config["downstream_expert"]

    @property
    def _saved_models(self) -> str:
        return at(self._task, "general.saved_models_dir") or "saved_models"
