"""The model on top of the features. Replace it by your own."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Model(nn.Module):
    """Averages over time, a projection, and a linear classifier.

    The average alone would not do: the baseline features have zero mean over every utterance. So the positive and the negative parts of
    each feature are averaged by themselves (their difference is the plain average). The averages come before the projection, which
    then works once per utterance and not once per frame; the normalisation makes their small differences learnable.

    Args:
        feature_dim: width D of the features.
        input_dim: width of the projection.
        output_class_num: number of classes.
    """

    def __init__(self, feature_dim: int, input_dim: int, output_class_num: int):
        super().__init__()
        self.norm = nn.LayerNorm(2 * feature_dim)
        self.connector = nn.Linear(2 * feature_dim, input_dim)
        self.linear = nn.Linear(input_dim, output_class_num)

    def forward(self, features: list[Tensor]) -> Tensor:
        """List of (T_i, D), unpadded, so that there is no padding to mask -> logits (B, output_class_num)."""
        positive = torch.stack([feature.relu().mean(dim=0) for feature in features])
        negative = positive - torch.stack([feature.mean(dim=0) for feature in features])
        return self.linear(self.connector(self.norm(torch.cat([positive, negative], dim=1))))
