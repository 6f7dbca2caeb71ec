"""The model on top of the features. Replace it by your own."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Model(nn.Module):
    """A rectifier per frame, the average over the frames, then a linear classifier.

    The rectifier has to come before the average: the baseline features have zero mean over every utterance, so the average of a linear
    map of them would be the same for all. The normalisation keeps the small differences between averages trainable.
    """

    def __init__(self, input_dim: int, output_class_num: int):
        super().__init__()
        self.norm = nn.LayerNorm(input_dim)
        self.linear = nn.Linear(input_dim, output_class_num)

    def forward(self, frames: Tensor, lengths: list[int]) -> Tensor:
        """
        Args:
            frames: (sum of lengths, input_dim), the frames of all items one after the other, so that there is no padding to mask.
            lengths: the number of frames of each item.

        Returns:
            logits (B, output_class_num).
        """
        means = [item.mean(dim=0) for item in frames.relu().split(lengths)]
        return self.linear(self.norm(torch.stack(means)))
