"""One output per speaker and frame (spec: downstream-speaker.md 5.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from downstream.blocks.convolution import Convolution
from downstream.blocks.frames import frames_at, match_length
from utility.training.fields import Count, CountFromZero, Part


class Model(nn.Module):
    """LSTM and a linear layer; the linear layer alone without layers of LSTM.

    Args:
        input_dim: width of the features.
        speakers: number of outputs.
        hidden_size: width of the LSTM (of each direction).
        rnn_layers: how many layers; 0 for none.
        bidirectional: run both ways.
        dropout: between the layers of the LSTM, and before the linear layer.
        convolution: keywords of :class:`downstream.blocks.convolution.Convolution` for one before the LSTM, for features with little
            context of their own; ``projector_dim`` is its width.
    """

    def __init__(
        self,
        input_dim: int,
        speakers: int,
        hidden_size: Count = 512,
        rnn_layers: CountFromZero = 1,
        bidirectional: bool = False,
        dropout: Part = 0.0,
        convolution: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        width = input_dim
        if convolution is not None:
            options = dict(convolution)
            width = options.pop("projector_dim", hidden_size)
            self.convolution = Convolution(input_dim, width, **options)
        if rnn_layers > 0 and bidirectional:
            self.rnn = BothWays(width, hidden_size, rnn_layers, dropout)
            width = 2 * hidden_size
        elif rnn_layers > 0:
            self.rnn = nn.LSTM(width, hidden_size, rnn_layers, batch_first=True, dropout=dropout if rnn_layers > 1 else 0.0)
            width = hidden_size
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(width, speakers)
        self.layers, self.bidirectional = rnn_layers, bidirectional

    def forward(self, features: list[Tensor], frames: list[int], rate: int, shift: int, published: bool = False) -> Tensor:
        """Logits (B, max(frames), speakers); what lies beyond an utterance's frames means nothing.

        Args:
            features: (T_i, D) of each utterance.
            frames: how many frames of labels each has.
            rate, shift: samples per frame of features and of labels; a label sees the feature that covers its middle.
            published: frames are matched as S3PRL does, after padding: shorter utterances of a batch end in zeros.
        """
        if hasattr(self, "convolution"):
            lengths = torch.tensor([len(feature) for feature in features], device=features[0].device)
            seen = self.convolution(pad_sequence(features, batch_first=True), lengths)[0]
            features = [own[: len(feature)] for own, feature in zip(seen, features, strict=True)]
        if published:
            hidden = match_length(pad_sequence(features, batch_first=True), max(frames))
        else:
            pairs = zip(features, frames, strict=True)
            hidden = pad_sequence([frames_at(feature, count, rate, shift) for feature, count in pairs], batch_first=True)
        if self.layers > 0 and self.bidirectional:
            hidden = self.rnn(hidden, torch.tensor(frames, device=hidden.device))
        elif self.layers > 0:
            hidden = self.rnn(hidden)[0]  # what follows an utterance has no influence on it
        return self.linear(self.dropout(hidden))


class BothWays(nn.Module):
    """LSTM layers in both directions over utterances of any length.

    The frames of an utterance are turned round for the backward direction, so that padding comes last in both. Packed sequences would do as
    well, and take six times as long on a CPU.

    Args:
        input_dim: width of the features.
        hidden_size: width of each direction.
        layers: how many.
        dropout: between the layers.
    """

    def __init__(self, input_dim: int, hidden_size: int, layers: int, dropout: float):
        super().__init__()
        widths = [input_dim, *[2 * hidden_size] * (layers - 1)]
        self.ahead = nn.ModuleList(nn.LSTM(width, hidden_size, batch_first=True) for width in widths)
        self.back = nn.ModuleList(nn.LSTM(width, hidden_size, batch_first=True) for width in widths)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, input_dim), true frames (B,) -> (B, T, 2 * hidden_size)."""
        time = torch.arange(hidden.size(1), device=hidden.device)
        mirrored = torch.where(time < lengths[:, None], lengths[:, None] - 1 - time, time).unsqueeze(-1)
        for number, (ahead, back) in enumerate(zip(self.ahead, self.back, strict=True)):
            hidden = self.dropout(hidden) if number else hidden
            turned = back(_taken(hidden, mirrored))[0]
            hidden = torch.cat([ahead(hidden)[0], _taken(turned, mirrored)], dim=-1)
        return hidden


def _taken(hidden: Tensor, index: Tensor) -> Tensor:
    return hidden.gather(1, index.expand(-1, -1, hidden.size(-1)))
