"""The head of the first S3PRL releases, kept for checkpoints of that time."""

from __future__ import annotations

from torch import Tensor, nn

from downstream.blocks.pooling import MeanPooling
from utility.training.fields import Count


class Model(nn.Module):
    """Linear, rectifier, average over the true frames, two linear layers.

    Args:
        input_dim: width of the features.
        output_class_num: number of classes.
        hidden_dim: width of the layers between.
    """

    def __init__(self, input_dim: int, output_class_num: int, hidden_dim: Count = 64):
        super().__init__()
        self.connector = nn.Linear(input_dim, hidden_dim)
        self.pooling = MeanPooling()
        self.fc1 = nn.Linear(hidden_dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, output_class_num)

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, input_dim) and frame counts (B,) -> logits (B, output_class_num); the frame counts are passed on."""
        return self.fc2(self.fc1(self.pooling(self.connector(features).relu(), lengths))), lengths
