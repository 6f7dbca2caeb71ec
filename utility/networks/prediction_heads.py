"""The prediction heads of DistilHuBERT (2110.01900, section 2): one for each teacher layer that the student learned to predict."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from utility.errors import CheckpointError

ONLY = {"out_layer_type": "expand-last", "task_emb_type": "expand-last", "attention_type": "original"}


class SplitLinear(nn.Module):
    """One linear map for each task, side by side; parameters are named as in the checkpoints.

    Args:
        tasks: number of maps.
        inputs, outputs: widths of each.
    """

    def __init__(self, tasks: int, inputs: int, outputs: int):
        super().__init__()
        self.tasks = tasks
        if tasks == 1:
            self.layer = nn.Linear(inputs, outputs)
        else:
            self.weight = nn.Parameter(torch.zeros(tasks, inputs, outputs))
            self.bias = nn.Parameter(torch.zeros(1, 1, tasks, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, tasks inputs) to (B, T, tasks, outputs)."""
        if self.tasks == 1:
            return self.layer(x)[:, :, None]
        return torch.einsum("btni,nio->btno", x.unflatten(-1, (self.tasks, -1)), self.weight) + self.bias


class PredictionHeads(nn.Sequential):
    """Linear, GELU and one linear map for each task ("expand-last"): (B, T, D) to (B, T, tasks, outputs).

    Args:
        width: D.
        inner: width between the two maps, for each task.
        tasks, outputs: number and width of the predictions.
    """

    def __init__(self, width: int, inner: int, tasks: int, outputs: int):
        super().__init__(nn.Linear(width, inner * tasks), nn.GELU(), SplitLinear(tasks, inner, outputs))


def distiller_config(config: Any, path: Path | str) -> Mapping[str, Any]:
    """The section of the model in a checkpoint's ``Config``.

    Raises:
        CheckpointError: there is none, or it asks for a variant that no published model has.
    """
    found = config.get("distiller") if isinstance(config, Mapping) else None
    if not isinstance(found, Mapping):
        raise CheckpointError(f"{path} has no section 'distiller' in its 'Config'")
    wrong = [f"{key} {found[key]!r} (only {only!r} is known)" for key, only in ONLY.items() if found.get(key, only) != only]
    if wrong:
        raise CheckpointError(f"{path} is of an unknown kind: {', '.join(wrong)}")
    return found


def prediction_heads(config: Mapping[str, Any], width: int, path: Path | str) -> PredictionHeads:
    """The prediction heads that the settings describe.

    Raises:
        CheckpointError: the settings do not give their number and width.
    """
    tasks, outputs, inner = config.get("n_tasks"), config.get("final_dim", 768), config.get("out_layer_inter_dim", -1)
    wrong = [f"{name} is {value!r}" for name, value in (("n_tasks", tasks), ("final_dim", outputs)) if type(value) is not int or value < 1]
    if wrong or type(inner) is not int:
        raise CheckpointError(f"{path} has impossible settings: {', '.join(wrong) or f'out_layer_inter_dim is {inner!r}'}")
    return PredictionHeads(width, inner if inner > 0 else width, tasks, outputs)
