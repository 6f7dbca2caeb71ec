"""The prediction heads of DistilHuBERT (2110.01900, section 2): one for each teacher layer that the student learned to predict."""

from __future__ import annotations

import torch
from torch import Tensor, nn


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
