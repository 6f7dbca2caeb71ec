"""One output per speaker and frame (spec: downstream-speaker.md 5.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from downstream.blocks.convolution import Convolution
from downstream.blocks.frames import frames_at, match_length


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
        hidden_size: int = 512,
        rnn_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        convolution: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        width = input_dim
        if convolution is not None:
            options = dict(convolution)
            width = options.pop("projector_dim", hidden_size)
            self.convolution = Convolution(input_dim, width, **options)
        if rnn_layers > 0:
            between = dropout if rnn_layers > 1 else 0.0
            self.rnn = nn.LSTM(width, hidden_size, rnn_layers, batch_first=True, bidirectional=bidirectional, dropout=between)
            width = hidden_size * (2 if bidirectional else 1)
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
        if self.layers > 0:
            hidden = self._recurrent(hidden, frames)
        return self.linear(self.dropout(hidden))

    def _recurrent(self, hidden: Tensor, frames: list[int]) -> Tensor:
        """Both ways, only the true frames are seen; forward alone, what follows them has no influence."""
        if not self.bidirectional:
            return self.rnn(hidden)[0]
        packed = pack_padded_sequence(hidden, torch.tensor(frames), batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(self.rnn(packed)[0], batch_first=True, total_length=hidden.size(1))[0]
