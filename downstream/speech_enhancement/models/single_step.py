"""The ConvLSTM one frame at a time, for processors without an LSTM of their own (spec: speech-enhancement.md A3.3).

Nothing here is trained: the weights are those of a trained :class:`~downstream.speech_enhancement.models.lstm.ConvLSTMDenoiser`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from utility.errors import UsageError

from .lstm import ConvLSTMDenoiser, conv_norm

GATES = ("i", "f", "g", "o")  # input, forget, cell, output: torch's order of rows
State = tuple[Tensor, Tensor]


class DecomposedLSTM(nn.Module):
    """One layer and one step of an LSTM, made of linear layers.

    Args:
        input_size, hidden_size: widths.
        bias: whether there are biases.
        separate_weights: a linear layer for each gate and for each of input and state, whose ranges quantise better; otherwise one for all.
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, separate_weights: bool = False):
        super().__init__()
        self.hidden_size, self.separate = hidden_size, separate_weights
        if separate_weights:
            for gate in GATES:
                self.add_module(f"gate_i{gate}", nn.Linear(input_size, hidden_size, bias))
                self.add_module(f"gate_h{gate}", nn.Linear(hidden_size, hidden_size, bias))
        else:
            self.gates = nn.Linear(input_size + hidden_size, 4 * hidden_size, bias)
        self.requires_grad_(False)

    @classmethod
    def of(cls, lstm: nn.LSTM, layer: int = 0, separate_weights: bool = False) -> DecomposedLSTM:
        """One layer of torch's LSTM.

        Raises:
            UsageError: it has two directions, or projections.
        """
        if lstm.bidirectional or lstm.proj_size:
            raise UsageError("an LSTM of two directions, or with projections, has no form of single steps")
        w_ih, w_hh = (getattr(lstm, f"weight_{part}_l{layer}").detach() for part in ("ih", "hh"))
        made = cls(w_ih.size(1), lstm.hidden_size, lstm.bias, separate_weights)
        biases = [getattr(lstm, f"bias_{part}_l{layer}").detach() for part in ("ih", "hh")] if lstm.bias else None
        made.take(w_ih, w_hh, biases)
        return made

    @torch.no_grad()
    def take(self, w_ih: Tensor, w_hh: Tensor, biases: list[Tensor] | None) -> None:
        """Weights as torch has them: (4 hidden, input), (4 hidden, hidden) and two of (4 hidden,)."""
        if not self.separate:
            self.gates.weight.copy_(torch.cat([w_ih, w_hh], 1))
            if biases:
                self.gates.bias.copy_(biases[0] + biases[1])
            return
        for part, weight, bias in zip("ih", (w_ih, w_hh), biases or (None, None), strict=True):
            for gate, rows in zip(GATES, weight.chunk(4), strict=True):
                getattr(self, f"gate_{part}{gate}").weight.copy_(rows)
            for gate, rows in zip(GATES, bias.chunk(4) if bias is not None else (), strict=bias is not None):
                getattr(self, f"gate_{part}{gate}").bias.copy_(rows)

    def forward(self, x: Tensor, state: State) -> State:
        """(..., input) and (h, c), each (..., hidden) -> the next h and c."""
        h, c = state
        if self.separate:
            i, f, g, o = (getattr(self, f"gate_i{gate}")(x) + getattr(self, f"gate_h{gate}")(h) for gate in GATES)
        else:
            i, f, g, o = self.gates(torch.cat([x, h], -1)).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


class DecomposedConvLSTMDenoiser(nn.Module):
    """One frame of a ConvLSTM of two layers; module names are those of published state dicts.

    Args:
        in_channels, out_channels: F of magnitudes and mask.
        lstm_hidden_size: width of both layers.
        separate_weights: see :class:`DecomposedLSTM`.
    """

    def __init__(self, in_channels: int = 257, out_channels: int = 257, lstm_hidden_size: int = 256, separate_weights: bool = True):
        super().__init__()
        self.conv_block_1 = conv_norm(in_channels, out_channels)
        self.lstm_1 = DecomposedLSTM(out_channels, lstm_hidden_size, separate_weights=separate_weights)
        self.lstm_2 = DecomposedLSTM(lstm_hidden_size, lstm_hidden_size, separate_weights=separate_weights)
        self.conv_block_2 = conv_norm(lstm_hidden_size, out_channels)
        self.conv_3 = nn.Conv1d(out_channels, out_channels, 1)
        self.requires_grad_(False).eval()

    @classmethod
    def of(cls, model: ConvLSTMDenoiser, separate_weights: bool = True) -> DecomposedConvLSTMDenoiser:
        """The same network with the same weights.

        Raises:
            UsageError: it has not two layers.
        """
        if model.lstm_block.num_layers != 2:
            raise UsageError(f"the form of single steps has 2 layers of LSTM, the network {model.lstm_block.num_layers}")
        conv = model.conv_block_1[0]
        made = cls(conv.in_channels, conv.out_channels, model.lstm_block.hidden_size, separate_weights)
        for name in ("conv_block_1", "conv_block_2", "conv_3"):
            getattr(made, name).load_state_dict(getattr(model, name).state_dict())
        made.lstm_1, made.lstm_2 = (DecomposedLSTM.of(model.lstm_block, layer, separate_weights) for layer in (0, 1))
        return made.eval()

    def forward(self, x: Tensor, h1: Tensor, h2: Tensor, c1: Tensor, c2: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """A frame (1, F, 1) and states (1, hidden) -> mask (1, F, 1) and the next states."""
        h1, c1 = self.lstm_1(self.conv_block_1(x).squeeze(-1), (h1, c1))
        h2, c2 = self.lstm_2(h1, (h2, c2))
        return torch.sigmoid(self.conv_3(self.conv_block_2(h2.unsqueeze(-1)))), h1, h2, c1, c2
