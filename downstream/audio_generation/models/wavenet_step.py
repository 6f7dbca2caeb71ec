"""WaveNet code by code: each layer keeps what it will see again, so that a step costs one column of each convolution (Paine et al. 2016).

All steppers multiply the start convolution into the embedding, and the output layer into the last convolution, in float64. The skips of
all layers are one product of a wide matrix. :class:`PlainWaveNet` is made of PyTorch's operations; :class:`BatchedWaveNet` has compiled
loops between the products; :class:`FastWaveNet` is one compiled loop with the products, for a single sequence.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from . import wavenet_loop
from .product import ColumnProduct

if TYPE_CHECKING:
    from .wavenet import WaveNet

Decoder = tuple[Tensor, Tensor]


class WaveNetWeights:
    """The weights as steps use them.

    Args:
        model: whose weights of now are taken.
        encoder: embedding (n_codes, classes).
        decoder: weight (n_codes, classes) and bias (n_codes,) of the output layer.

    Attributes:
        start: (n_codes, R), what enters the first layer for each code.
        gates: (layers, 2 D, taps * R), the oldest tap first, with its bias (layers, 2 D).
        residual: (layers, R, D) with its bias (layers, R).
        skip: (S, layers * D) with its bias (S,).
        end: (E, S) with its bias (E,).
        output: (n_codes, E) with its bias (n_codes,).
    """

    def __init__(self, model: WaveNet, encoder: Tensor, decoder: Decoder):
        weight, bias = model.start_conv.weight.squeeze(-1).double(), model.start_conv.bias
        self.start = (encoder.double() @ weight.T + (0 if bias is None else bias)).to(encoder)
        gates = [model.gates(layer) for layer in range(len(model.dilations))]
        self.gates = (
            torch.stack([weight.transpose(1, 2).flatten(1) for weight, _ in gates]),
            _biases([bias for _, bias in gates], gates[0][0]),
        )
        self.residual = _stacked(model.residual_convs)
        skip, biases = _stacked(model.skip_convs)
        self.skip = skip.transpose(0, 1).flatten(1), biases.sum(0)
        self.end = model.end_conv_1.weight.squeeze(-1), model.end_conv_1.bias
        last, constant = (value.double() for value in decoder)
        middle = model.end_conv_2.weight.squeeze(-1).double(), model.end_conv_2.bias.double()
        self.output = (last @ middle[0]).to(encoder), (last @ middle[1] + constant).to(encoder)

    def settled(self, code: int) -> Tensor:
        """(layers, R): what enters each layer when nothing but this code has ever been fed."""
        x, entered = self.start[code], []
        for gates, bias, residual, constant in zip(*self.gates, *self.residual, strict=True):
            entered.append(x)
            value, gate = (gates @ x.repeat(gates.size(1) // len(x)) + bias).chunk(2)
            x = residual @ (torch.tanh(value) * torch.sigmoid(gate)) + constant + x
        return torch.stack(entered)


def _biases(biases: list[Tensor | None], weight: Tensor) -> Tensor:
    return torch.stack([weight.new_zeros(len(weight)) if bias is None else bias for bias in biases])


def _stacked(convolutions: torch.nn.ModuleList) -> tuple[Tensor, Tensor]:
    """(layers, out, in) and (layers, out) of convolutions with one tap."""
    weights = torch.stack([conv.weight.squeeze(-1) for conv in convolutions])
    return weights, _biases([conv.bias for conv in convolutions], weights[0])


class Stepping:
    """What all steppers share: the queues and how they begin.

    Args:
        model: whose weights of now are used.
        batch: number of sequences.
        encoder, decoder: see :class:`WaveNetWeights`.
    """

    def __init__(self, model: WaveNet, batch: int, encoder: Tensor, decoder: Decoder):
        with torch.no_grad():
            self.weights = WaveNetWeights(model, encoder, decoder)
            self.entered = self.weights.settled(len(encoder) // 2)
        self.warm_up, self.taps, self.dilations = model.warm_up, model.kernel_size, model.dilations
        self.lengths = [(self.taps - 1) * dilation for dilation in self.dilations]
        # of each layer, what entered it in the steps that it will see again; (steps of all layers, R, B)
        self.queues = encoder.new_zeros(sum(self.lengths), self.entered.size(1), batch)
        self.time = torch.zeros((), dtype=torch.int64, device=encoder.device)  # steps since the queues were filled

    def reset(self) -> None:
        """Begins anew, with zeros in all queues."""
        self.time.zero_()
        self.queues.zero_()

    def warm(self) -> None:
        """What :meth:`reset` and ``warm_up`` steps of the zero token do, at once: afterwards the first logits count."""
        self.time.zero_()
        if any(self.lengths):
            self.queues.copy_(torch.repeat_interleave(self.entered, torch.tensor(self.lengths, device=self.queues.device), 0).unsqueeze(-1))


class Head:
    """From what the skips of all layers are made of to the logits; vectors stand in columns.

    Args:
        weights: of the model.
        batch: number of sequences.
    """

    def __init__(self, weights: WaveNetWeights, batch: int):
        self.products = [ColumnProduct(*pair, batch) for pair in (weights.skip, weights.end, weights.output)]

    def __call__(self, z: Tensor) -> Tensor:
        """(layers * D, B) -> (B, n_codes)."""
        skip, end, output = self.products
        return output(end(skip(z).relu_()).relu_()).T.clone(memory_format=torch.contiguous_format)


class PlainWaveNet(Stepping):
    """Layer by layer, on any device and in the type of the weights; arguments as in :class:`Stepping`. Vectors stand in columns.

    What the queues hold is known when a step begins: it is read at once for all layers, multiplied at once, and written at once.

    Attributes:
        period: every step does the same.
    """

    period = 1

    def __init__(self, model: WaveNet, batch: int, encoder: Tensor, decoder: Decoder):
        super().__init__(model, batch, encoder, decoder)
        weights, layers = self.weights, len(self.dilations)
        channels, taps = self.entered.size(1), self.taps
        self.before, self.now = (part.contiguous() for part in weights.gates[0].split([(taps - 1) * channels, channels], 2))
        self.bias, residual_bias = weights.gates[1].unsqueeze(-1), weights.residual[1].unsqueeze(-1)
        self.both = encoder.new_empty(layers, self.now.size(1), batch)
        self.x = encoder.new_empty(layers, channels, batch)  # what enters each layer
        self.past = encoder.new_empty((taps - 1) * layers, channels, batch)  # what the other taps see
        self.z = encoder.new_empty(weights.skip[0].size(1), batch)  # of all layers
        self.head = Head(weights, batch)
        halves = [both.chunk(2) for both in self.both]
        constants = list(residual_bias) if residual_bias.any() else [None] * layers
        self.steps = list(
            zip(self.x, [*self.x[1:], None], self.both, halves, self.z.chunk(layers), self.now, weights.residual[0], constants, strict=True)
        )
        spans = torch.tensor([self.lengths], device=encoder.device)
        distances = torch.tensor([[tap * dilation for dilation in self.dilations] for tap in range(taps - 1)], device=encoder.device)
        self.places = spans.cumsum(1) - spans, spans, distances

    @torch.no_grad()
    def step(self, codes: Tensor) -> Tensor:
        """(B,) -> (B, n_codes)."""
        places = self._remember()
        self.x[0].copy_(self.weights.start[codes].T)
        for x, following, both, (value, gate), z, now, residual, constant in self.steps:
            both.addmm_(now, x)
            torch.mul(value.tanh_(), gate.sigmoid_(), out=z)
            if following is None:
                break
            torch.addmm(x, residual, z, out=following)
            if constant is not None:
                following.add_(constant)
        if places is not None:
            self.queues.index_copy_(0, places, self.x)
        self.time += 1
        return self.head(self.z)

    def _remember(self) -> Tensor | None:
        """Multiplies what earlier steps left for this one; where this one leaves what enters its layers, (layers,)."""
        if self.taps == 1:
            self.both.copy_(self.bias)
            return None
        begins, spans, distances = self.places
        places = (self.time + distances).remainder_(spans).add_(begins)  # (taps - 1, layers), the oldest first: it is written over
        torch.index_select(self.queues, 0, places.T.flatten(), out=self.past)
        torch.baddbmm(self.bias, self.before, self.past.view(len(self.x), -1, self.x.size(2)), out=self.both)
        return places[0]


class BatchedWaveNet(Stepping):
    """One product for all taps of a layer, and compiled loops between the products; float32 on a CPU, arguments as in :class:`Stepping`.

    Vectors stand in columns.
    """

    def __init__(self, model: WaveNet, batch: int, encoder: Tensor, decoder: Decoder):
        super().__init__(model, batch, encoder, decoder)
        weights, layers, channels = self.weights, len(self.dilations), self.entered.size(1)
        # what the taps of each layer see, the present last; behind the last layer stands what leaves it
        self.inputs = encoder.new_zeros(layers + 1, self.taps, channels, batch)
        self.now = list(self.inputs[:, -1])
        self.z = encoder.new_empty(weights.skip[0].size(1), batch)  # of all layers
        self.head = Head(weights, batch)
        gates = [ColumnProduct(weight, bias, batch) for weight, bias in zip(*weights.gates, strict=True)]
        summands = self.z.chunk(layers)
        between = [
            partial(wavenet_loop.between, *(value.numpy() for value in (gate.result.flatten(), z.flatten(), x, bias, following)))
            for gate, z, x, bias, following in zip(gates, summands, self.now, weights.residual[1], self.now[1:], strict=False)
        ]
        self.steps = list(zip(gates, self.inputs.flatten(1, 2), between, self.now[1:], weights.residual[0], summands, strict=False))
        self.memory = np.array(self.dilations), self.queues.flatten(1).numpy(), self.inputs[:-1].flatten(2).numpy()

    @torch.no_grad()
    def step(self, codes: Tensor) -> Tensor:
        """(B,) -> (B, n_codes)."""
        time = self.time.item()
        wavenet_loop.recall(time, *self.memory)
        self.now[0].copy_(self.weights.start[codes].T)
        for gates, seen, between, following, residual, z in self.steps:
            gates(seen)
            between()
            following.addmm_(residual, z)
        wavenet_loop.remember(time, *self.memory)
        self.time += 1
        return self.head(self.z)


class FastWaveNet(Stepping):
    """One compiled loop over all layers for a single sequence, float32 on one core of a CPU; arguments as in :class:`Stepping`."""

    def __init__(self, model: WaveNet, batch: int, encoder: Tensor, decoder: Decoder):
        super().__init__(model, batch, encoder, decoder)
        weights = self.weights
        pairs = weights.gates, weights.residual, weights.skip, weights.end, weights.output
        self.arrays = tuple((_array(weight), _array(bias)) for weight, bias in pairs)
        self.start, self.distances = _array(weights.start), np.array(self.dilations)
        self.memory = self.queues.numpy()[..., 0]
        self.room = wavenet_loop.scratch(*(weight for weight, _ in self.arrays[:4]))

    @torch.no_grad()
    def step(self, codes: Tensor) -> Tensor:
        """(1,) -> (1, n_codes)."""
        logits = torch.empty(1, len(self.start))
        row = logits.numpy()[0]
        wavenet_loop.step(codes.item(), self.time.item(), self.start, self.distances, self.memory, self.arrays, self.room, row)
        self.time += 1
        return logits


def _array(value: Tensor) -> np.ndarray:
    return value.detach().clone(memory_format=torch.contiguous_format).numpy()
