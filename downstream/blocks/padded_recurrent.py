"""A recurrent layer over padded sequences, each as if it were alone.

On CPUs torch walks through packed sequences frame by frame, where whole ones go to a fused kernel: with 16 sequences of 300 to 500 frames
and 64 units each way, forwards and backwards take about twenty times as long. So each way runs over the padded batch here, the backward
one over sequences that are turned around within their own length.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


def over_lengths(net: nn.RNNBase, x: Tensor, lengths: Tensor) -> Tensor:
    """The outputs of an LSTM, GRU or RNN, from a state of zeros.

    Args:
        net: of one layer, or any number of them on a GPU; ``batch_first``.
        x: (B, T, D).
        lengths: (B,) on any device, at least 1 each; T is the longest or more.

    Returns:
        (B, T, E), zeros behind a sequence's own frames.
    """
    if x.is_cuda or net.num_layers > 1 or getattr(net, "proj_size", 0):
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(net(packed)[0], batch_first=True, total_length=x.size(1))[0]
    lengths = lengths.to(x.device).unsqueeze(1)
    inside = torch.arange(x.size(1), device=x.device) < lengths
    ways = [_one_way(net, x, "")]
    if net.bidirectional:
        ways.append(_turned(_one_way(net, _turned(x, lengths), "_reverse"), lengths))
    return torch.cat(ways, -1).masked_fill(~inside.unsqueeze(-1), 0.0)


def _one_way(net: nn.RNNBase, x: Tensor, suffix: str) -> Tensor:
    """(B, T, D) -> (B, T, hidden), from the first frame to the last, with the weights of a direction."""
    names = [f"{kind}_{part}_l0{suffix}" for kind in ("weight", "bias") for part in ("ih", "hh")]
    weights = [getattr(net, name) for name in names if hasattr(net, name)]
    start = x.new_zeros(1, len(x), net.hidden_size)
    run = {"LSTM": torch.lstm, "GRU": torch.gru, "RNN_TANH": torch.rnn_tanh, "RNN_RELU": torch.rnn_relu}[net.mode]
    return run(x, (start, start) if net.mode == "LSTM" else start, weights, net.bias, 1, 0.0, net.training, False, True)[0]


def _turned(x: Tensor, lengths: Tensor) -> Tensor:
    """(B, T, D) with each sequence's own frames, (B, 1) of them, in the other order; what is behind them stays."""
    frames = torch.arange(x.size(1), device=x.device)
    order = torch.where(frames < lengths, lengths - 1 - frames, frames)
    return x.gather(1, order.unsqueeze(-1).expand_as(x))
