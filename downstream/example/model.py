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

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """
        Args:
            features: (B, T, input_dim), padded.
            lengths: (B,), the number of true frames of each item.

        Returns:
            logits (B, output_class_num).
        """
        inside = torch.arange(features.size(1), device=features.device) < lengths.unsqueeze(1)
        hidden = features.relu() * inside.unsqueeze(-1)
        mean = hidden.sum(dim=1) / lengths.clamp(min=1).unsqueeze(1)
        return self.linear(self.norm(mean))
