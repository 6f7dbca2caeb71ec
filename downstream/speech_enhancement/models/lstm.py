"""Recurrent networks over frames, which see nothing of the future: magnitudes in, mask out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from utility.training.fields import Count, Part

State = tuple[Tensor, Tensor]
FLOOR = 1e-4  # of magnitudes, before the logarithm


class ConvLSTMDenoiser(nn.Module):
    """(B, F, T) magnitudes -> (B, F, T) mask: pointwise convolution, LSTM, two pointwise convolutions, sigmoid (spec: A3.2).

    Args:
        in_channels: F of the magnitudes.
        out_channels: F of the mask.
        lstm_hidden_size: width of the LSTM.
        num_lstm_layers: its layers.
    """

    def __init__(self, in_channels: Count = 257, out_channels: Count = 257, lstm_hidden_size: Count = 256, num_lstm_layers: Count = 2):
        super().__init__()
        self.conv_block_1 = conv_norm(in_channels, out_channels)
        self.lstm_block = nn.LSTM(out_channels, lstm_hidden_size, num_lstm_layers, batch_first=True)
        self.conv_block_2 = conv_norm(lstm_hidden_size, out_channels)
        self.conv_3 = nn.Conv1d(out_channels, out_channels, 1)

    def forward(self, magnitudes: Tensor) -> Tensor:
        """(B, F, T) -> (B, F, T)."""
        return self.step(magnitudes, None)[0]

    def step(self, magnitudes: Tensor, state: State | None) -> tuple[Tensor, State]:
        """The next frames (B, F, n), after those that the state (None: none) comes from, -> their mask and the next state."""
        states, state = self.lstm_block(self.conv_block_1(magnitudes).transpose(1, 2), state)
        return torch.sigmoid(self.conv_3(self.conv_block_2(states.transpose(1, 2)))), state


class LSTMDenoiser(nn.Module):
    """(B, F, T) magnitudes -> (B, F, T) mask: logarithm, LSTM, linear layer, sigmoid.

    Args:
        in_channels: F.
        hidden_size: width of the LSTM.
        num_layers: its layers.
        dropout: between the layers.
        bidirectional: see the future too.
    """

    def __init__(
        self,
        in_channels: Count = 257,
        hidden_size: Count = 256,
        num_layers: Count = 2,
        dropout: Part = 0.0,
        bidirectional: bool = False,
    ):
        super().__init__()
        self.norm = nn.LayerNorm(in_channels)
        self.lstm = nn.LSTM(in_channels, hidden_size, num_layers, batch_first=True, dropout=dropout, bidirectional=bidirectional)
        self.mask = nn.Linear(hidden_size * (2 if bidirectional else 1), in_channels)

    def forward(self, magnitudes: Tensor) -> Tensor:
        """(B, F, T) -> (B, F, T)."""
        return self.step(magnitudes, None)[0]

    def step(self, magnitudes: Tensor, state: State | None) -> tuple[Tensor, State]:
        """The next frames, as :meth:`ConvLSTMDenoiser.step`; only of a network of one direction are they those of the whole."""
        states, state = self.lstm(self.norm((magnitudes + FLOOR).log().transpose(1, 2)), state)
        return torch.sigmoid(self.mask(states)).transpose(1, 2), state


def conv_norm(channels: int, out_channels: int) -> nn.Sequential:
    """A product over channels, normalised over the batch, positive."""
    return nn.Sequential(nn.Conv1d(channels, out_channels, 1), nn.BatchNorm1d(out_channels), nn.ReLU())
