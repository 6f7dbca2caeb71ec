"""From the frames of a segment to one vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Model(nn.Module):
    """A narrower layer, an LSTM, and the mean of its outputs weighted by attention (spec: downstream-content.md 5).

    Names of parameters are S3PRL's. All frames count: segments are of equal length, and S3PRL does not mask the zeros at their ends.

    Args:
        input_dim: width of the features.
        bottleneck_dim: width before the LSTM.
        hidden_dim: width of the LSTM and of the result.
        num_layers: of the LSTM.
    """

    def __init__(self, input_dim: int, bottleneck_dim: int, hidden_dim: int, num_layers: int):
        super().__init__()
        self.connector = nn.Linear(input_dim, bottleneck_dim)
        self.rnn = nn.LSTM(bottleneck_dim, hidden_dim, num_layers, batch_first=True)
        self.attention_linear = nn.Linear(hidden_dim, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, T, input_dim) -> (B, hidden_dim)."""
        hidden = self.rnn(self.connector(features).relu())[0].tanh()
        weights = torch.softmax(self.attention_linear(hidden), dim=1)
        return (weights * hidden).sum(dim=1)
