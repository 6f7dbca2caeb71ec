"""SampleRNN code by code: each tier is computed once a frame, and what it gives is kept until its next frame.

:class:`PlainSampleRNN` runs the layers as they are. :class:`FastSampleRNN` gives the same logits from fewer weights: products of weights
that follow each other without a nonlinearity between them are computed in advance, the convolution over embedded codes is a table of one
row per tap and code, and of a tier's upsampling only the phase of the current step is computed. One sequence at a time is bound by the
reading of the weights from memory, so that is what counts.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .product import Product
from .weight_norm import folded

if TYPE_CHECKING:
    from .samplernn import SampleRNN


class Window:
    """The last codes of each sequence; a ring written twice, so that they always lie side by side.

    Args:
        batch: number of sequences.
        size: how many codes are kept.
        silence: what stands before the first code.
        device: where.
    """

    def __init__(self, batch: int, size: int, silence: int, device: torch.device):
        self.size, self.silence = size, silence
        self.codes = torch.empty(batch, 2 * size, dtype=torch.int64, device=device)
        self.reset()

    def reset(self) -> None:
        """Fills the window with silence."""
        self.codes.fill_(self.silence)
        self.end = self.size

    def push(self, codes: Tensor) -> None:
        """Takes the next code of each sequence, (B,)."""
        place = self.end % self.size
        self.codes[:, place] = codes
        self.codes[:, place + self.size] = codes
        self.end = place + self.size + 1

    def last(self, count: int) -> Tensor:
        """(B, count), the newest at the end."""
        return self.codes[:, self.end - count : self.end]


class PlainSampleRNN:
    """Layer by layer, in the type of the weights.

    Args:
        model: whose weights of now are used.
        batch: number of sequences.
    """

    warm_up = 0  # the window begins full of zero tokens

    def __init__(self, model: SampleRNN, batch: int):
        self.model, self.batch = cast("SampleRNN", folded(model)), batch
        weight = self.model.sample_level_mlp.embedding.weight
        self.amplitudes = self.model.amplitudes(weight)
        self.window = Window(batch, model.lookback, model.n_codes // 2, weight.device)
        self.reset()

    def reset(self) -> None:
        """Begins anew, with the learned initial states."""
        self.time = 0
        self.window.reset()
        self.states: list[Tensor | None] = [None for _ in self.model.frames]
        self.given: list[Tensor | None] = [None for _ in self.model.frames]

    @torch.no_grad()
    def step(self, codes: Tensor) -> Tensor:
        """(B,) -> (B, n_codes)."""
        self.window.push(codes)
        above: Tensor | None = None
        for i in range(len(self.states) - 1, -1, -1):
            tier, frame = self.model.frame_level_rnns[i], self.model.frames[i]
            if self.time % frame == 0:
                samples = self.amplitudes[self.window.last(frame)]
                self.given[i], self.states[i] = tier(samples, above, self.states[i])
            phase = self.time % frame // (frame // tier.upsampling.factor)
            above = cast("Tensor", self.given[i])[:, phase : phase + 1]
        self.time += 1
        return self.model.sample_level_mlp(self.window.last(self.model.frames[0]), above).squeeze(1)


class FastSampleRNN:
    """The same from products of weights that are computed in advance, in float64.

    Args:
        model: whose weights of now are used.
        batch: number of sequences.

    Attributes:
        period: steps after which all frames and the window begin again.
    """

    warm_up = 0

    def __init__(self, model: SampleRNN, batch: int):
        plain = cast("SampleRNN", folded(model))
        mlp = plain.sample_level_mlp
        like = mlp.embedding.weight
        self.frames, self.taps = plain.frames, plain.frames[0]
        self.amplitudes = plain.amplitudes(like)
        self.window = Window(batch, plain.lookback, plain.n_codes // 2, like.device)
        self.period = math.lcm(*plain.frames, plain.lookback)
        tiers = list(plain.frame_level_rnns)
        self.tiers = [TierStep(tier, above, batch) for tier, above in zip(tiers, [*tiers[1:], None], strict=True)]
        table = torch.einsum("hek,ne->knh", mlp.input.value().double(), like.double())
        self.table = table.flatten(0, 1).to(like)  # row of the k-th tap and code n: k * n_codes + n
        self.offsets = torch.arange(self.taps, device=like.device) * plain.n_codes
        self.conditioning = _upsampling(tiers[0].upsampling, batch)
        self.hidden = Product(mlp.hidden.value().squeeze(-1), mlp.hidden.bias, batch)
        self.output = Product(mlp.output.value().squeeze(-1), mlp.output.bias, batch)
        self.reset()

    def reset(self) -> None:
        """Begins anew, with the learned initial states."""
        self.time = 0
        self.window.reset()
        for tier in self.tiers:
            tier.reset()

    @torch.no_grad()
    def step(self, codes: Tensor) -> Tensor:
        """(B,) -> (B, n_codes)."""
        self.window.push(codes)
        for i in range(len(self.tiers) - 1, -1, -1):
            if self.time % self.frames[i]:
                continue
            above = None
            if i + 1 < len(self.tiers):
                above = self.tiers[i + 1].hidden[-1], self.time % self.frames[i + 1] // self.frames[i]
            self.tiers[i].update(self.amplitudes[self.window.last(self.frames[i])], above)
        x = F.embedding_bag(self.window.last(self.taps) + self.offsets, self.table, mode="sum")
        x.add_(self.conditioning[self.time % self.taps](self.tiers[0].hidden[-1])).relu_()
        self.time += 1
        return self.output(self.hidden(x).relu_()).clone()


class TierStep:
    """The recurrent layers of a tier, frame by frame.

    Args:
        tier: with folded weights.
        above: the tier above, likewise.
        batch: number of sequences.

    Attributes:
        hidden: the state of each layer, (B, H).
    """

    def __init__(self, tier: nn.Module, above: nn.Module | None, batch: int):
        rnn, expand = tier.rnn, tier.input_expand
        like = rnn.weight_ih_l0
        first, bias = like.double(), rnn.bias_ih_l0.double()
        constant = bias + first @ expand.bias.double()
        self.frame = Product((first @ expand.value().squeeze(-1).double()).to(like), constant.to(like), batch)
        self.above = [] if above is None else _upsampling(above.upsampling, batch, first)
        self.inputs = [Product(getattr(rnn, f"weight_ih_l{n}"), getattr(rnn, f"bias_ih_l{n}"), batch) for n in range(1, rnn.num_layers)]
        self.recurrent = [Product(getattr(rnn, f"weight_hh_l{n}"), getattr(rnn, f"bias_hh_l{n}"), batch) for n in range(rnn.num_layers)]
        self.initial = rnn.h0.detach().expand(-1, batch, -1)
        self.hidden = list(self.initial.clone())

    def reset(self) -> None:
        """Back to the learned initial state."""
        for hidden, initial in zip(self.hidden, self.initial, strict=True):
            hidden.copy_(initial)

    def update(self, samples: Tensor, above: tuple[Tensor, int] | None) -> None:
        """Takes a frame (B, frame), and the state (B, H) of the tier above with the phase of its upsampling."""
        x = self.frame(samples)
        if above is not None:
            x = x + self.above[above[1]](above[0])
        for n, hidden in enumerate(self.hidden):
            if n:
                x = self.inputs[n - 1](self.hidden[n - 1])
            _gru(x, self.recurrent[n](hidden), hidden)


def _upsampling(layer: nn.Module, batch: int, then: Tensor | None = None) -> list[Product]:
    """An upsampling's product of each phase, with the matrix (out, H) that follows it, if any."""
    weight, bias = layer.phases()
    made = []
    for phase in range(layer.factor):
        matrix, constant = weight[:, phase].T.double(), bias[phase].double()
        if then is not None:
            matrix, constant = then @ matrix, then @ constant
        made.append(Product(matrix.to(weight), constant.to(weight), batch))
    return made


def _gru(x: Tensor, recurrent: Tensor, hidden: Tensor) -> None:
    """Moves the state (B, H) on in place, by the two inputs (B, 3 H) of reset gate, update gate and candidate."""
    width = hidden.size(1)
    reset, update = torch.sigmoid(x[:, : 2 * width] + recurrent[:, : 2 * width]).chunk(2, 1)
    candidate = torch.tanh(torch.addcmul(x[:, 2 * width :], reset, recurrent[:, 2 * width :]))
    torch.lerp(candidate, hidden, update, out=hidden)
