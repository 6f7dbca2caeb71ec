"""Padded sequences through recurrent layers: each as if it were alone, as torch's packed sequences have it."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from downstream.blocks.padded_recurrent import over_lengths

LENGTHS = torch.tensor([7, 1, 4, 7])
NETS = {
    "lstm": lambda: nn.LSTM(3, 5, batch_first=True, bidirectional=True),
    "one way": lambda: nn.LSTM(3, 5, batch_first=True),
    "gru": lambda: nn.GRU(3, 5, batch_first=True, bidirectional=True),
    "tanh": lambda: nn.RNN(3, 5, batch_first=True, bidirectional=True),
    "relu without bias": lambda: nn.RNN(3, 5, nonlinearity="relu", bias=False, batch_first=True),
    "two layers": lambda: nn.LSTM(3, 5, num_layers=2, batch_first=True, bidirectional=True),
}


@pytest.mark.parametrize("make", NETS.values(), ids=NETS)
def test_outputs_and_gradients_are_those_of_packed_sequences(make):
    torch.manual_seed(0)
    net = make().double()
    x = torch.randn(4, 9, 3, dtype=torch.float64, requires_grad=True)
    packed = net(pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False))[0]
    wanted = pad_packed_sequence(packed, batch_first=True, total_length=9)[0]
    weights = torch.randn_like(wanted)
    got = over_lengths(net, x, LENGTHS)
    torch.testing.assert_close(got, wanted)
    assert not got[1, 1:].any()
    sources = [x, *net.parameters()]
    for ours, theirs in zip(*(torch.autograd.grad((y * weights).sum(), sources) for y in (got, wanted)), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_padding_does_not_count():
    net = nn.GRU(3, 5, batch_first=True, bidirectional=True)
    x = torch.randn(2, 6, 3)
    other = x.clone()
    other[0, 4:] = torch.nan
    lengths = torch.tensor([4, 6])
    assert not over_lengths(net, other, lengths)[0, 4:].any()
    assert over_lengths(net, x, lengths)[0, :4].equal(over_lengths(net, other, lengths)[0, :4])
