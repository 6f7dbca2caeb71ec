"""A mask of the spectrum from features of speech, as in S3PRL's enhancement and separation (specs 8.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

from utility.errors import DataError
from utility.training.fields import Count, Part

MOST_APART = 4  # frames by which features and spectrum may differ, as in S3PRL
RNNS: dict[str, type[nn.RNNBase]] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}


class MaskNetwork(nn.Module):
    """Recurrent layers, dropout, and a linear layer with an activation on every frame.

    Args:
        input_dim: width of the features.
        bins: F, width of the mask.
        rnn: ``lstm``, ``gru`` or ``rnn``.
        num_layers, hidden_size, bidirectional: of the recurrent layers.
        dropout: between them and behind them.
        non_linear: ``relu``, ``sigmoid`` or ``tanh``.
    """

    def __init__(
        self,
        input_dim: int,
        bins: Count = 257,
        rnn: str = "lstm",
        num_layers: Count = 3,
        hidden_size: Count = 896,
        dropout: Part = 0.5,
        non_linear: str = "relu",
        bidirectional: bool = True,
    ):
        super().__init__()
        between = dropout if num_layers > 1 else 0.0
        self.rnn = RNNS[rnn](input_dim, hidden_size, num_layers, batch_first=True, dropout=between, bidirectional=bidirectional)
        self.drops = nn.Dropout(dropout)
        self.linear = nn.ModuleList([nn.Linear(hidden_size * (2 if bidirectional else 1), bins)])
        self.non_linear = ACTIVATIONS[non_linear]()

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """(T_i, D) each -> masks (T_i, F); no utterance feels another one's length."""
        packed = pack_sequence(list(features), enforce_sorted=False)
        padded, lengths = pad_packed_sequence(self.rnn(packed)[0], batch_first=True)
        masks = self.non_linear(self.linear[0](self.drops(padded)))
        return [mask[:length] for mask, length in zip(masks, lengths.tolist(), strict=True)]


def with_frames(features: Tensor, frames: int, repeats: int = 1) -> Tensor:
    """(T, D) -> (frames, D): each frame ``repeats`` times, then cut or prolonged by zeros.

    Raises:
        DataError: more than a few frames are too many or too few.
    """
    if repeats > 1:
        features = features.repeat_interleave(repeats, dim=0)
    if abs(len(features) - frames) > MOST_APART * repeats:
        raise DataError(f"the upstream gives {len(features)} frames where the spectrum has {frames}: its rate is not what it says")
    missing = frames - len(features)
    return torch.cat([features, features.new_zeros(missing, features.size(1))]) if missing > 0 else features[:frames]
