"""SampleRNN (Mehri et al. 2017): recurrent layers over frames of several lengths, and a small network over the last few samples.

The tiers are numbered from the shortest frame on. Tier i reads frames of ``frame_sizes[0] * ... * frame_sizes[i]`` codes, conditioned on
the tier above, and gives ``frame_sizes[i]`` conditionings to the tier below (tier 0: to the network over samples). Names of the weights and
the arithmetic are those of the public code (specs/audio-generation.md, 5.1 and 6.1).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from utility.errors import ConfigError, UnknownNameError
from utility.training.fields import Count, check_name, made_of

from .samplernn_step import FastSampleRNN, PlainSampleRNN
from .weight_norm import NormedWeight

QUANTIZATIONS = ("mu-law", "linear")


def kaiming_(weight: Tensor) -> Tensor:
    """He's uniform initial values, (out, in, ...)."""
    return nn.init.kaiming_uniform_(weight)


def lecun_(weight: Tensor) -> Tensor:
    """Uniform initial values of variance 1 / inputs, (out, in, ...)."""
    bound = math.sqrt(3 / weight[0].numel())
    return nn.init.uniform_(weight, -bound, bound)


class LearnedGRU(nn.GRU):
    """Gated recurrent layers over (B, T, H), whose initial state is learned."""

    def __init__(self, dim: int, layers: int, learn_h0: bool):
        super().__init__(dim, dim, layers, batch_first=True)
        self.h0 = nn.Parameter(torch.zeros(layers, 1, dim), requires_grad=learn_h0)

    def reset_parameters(self) -> None:
        """LeCun's uniform values; orthogonal ones in the recurrence of the candidate; biases zero."""
        for name, weight in self.named_parameters():
            if name.startswith("bias"):
                nn.init.zeros_(weight)
            elif name.startswith("weight"):
                for gate in weight.data.chunk(3):
                    lecun_(gate)
                if name.startswith("weight_hh"):
                    nn.init.orthogonal_(weight.data[-self.hidden_size :])

    def initial(self, batch: int) -> Tensor:
        """(layers, B, H), contiguous."""
        return self.h0.expand(-1, batch, -1).contiguous()


class Upsampling(nn.Module):
    """One vector a frame to ``factor`` vectors a frame: a transposed convolution without overlap, and a bias for each of them.

    Args:
        dim: width H.
        factor: vectors a frame.
        normed: see :class:`NormedWeight`.
    """

    def __init__(self, dim: int, factor: int, normed: bool):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(dim, factor))
        bound = math.sqrt(6 / dim)
        self.conv_t = NormedWeight((dim, dim, factor), None, lambda weight: nn.init.uniform_(weight, -bound, bound), normed)
        self.dim, self.factor = dim, factor

    def phases(self) -> tuple[Tensor, Tensor]:
        """Weight (H, factor, H), inputs first, and bias (factor, H)."""
        return self.conv_t.value().transpose(1, 2), self.bias.T

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, H) -> (B, T * factor, H)."""
        weight, bias = self.phases()
        return (x @ weight.reshape(self.dim, -1) + bias.reshape(-1)).view(len(x), -1, self.dim)


class Tier(nn.Module):
    """The recurrent layers over frames of one length.

    Args:
        frame: codes in a frame.
        factor: conditionings that a frame gives.
        dim: width H.
        layers: recurrent ones.
        normed: weight normalisation.
        learn_h0: whether the initial state is trained.
    """

    def __init__(self, frame: int, factor: int, dim: int, layers: int, normed: bool, learn_h0: bool):
        super().__init__()
        self.frame = frame
        self.input_expand = NormedWeight((dim, frame, 1), (dim,), kaiming_, normed)
        self.rnn = LearnedGRU(dim, layers, learn_h0)
        self.upsampling = Upsampling(dim, factor, normed)

    def forward(self, samples: Tensor, above: Tensor | None, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Conditionings for the tier below.

        Args:
            samples: (B, T * frame) amplitudes.
            above: (B, T, H), of the tier above; None for the highest.
            state: (layers, B, H); None at the beginning.

        Returns:
            (B, T * factor, H), and the state after them.
        """
        frames = samples.unflatten(1, (-1, self.frame))
        x = frames @ self.input_expand.value().squeeze(-1).T + self.input_expand.bias
        x, state = self.rnn(x if above is None else x + above, self.rnn.initial(len(x)) if state is None else state)
        return self.upsampling(x), state


class SampleMLP(nn.Module):
    """The network over the last codes, one by one.

    Args:
        n_codes: number of codes.
        width: of their embedding.
        taps: how many of the last codes it sees.
        dim: width H.
        normed: weight normalisation.
    """

    def __init__(self, n_codes: int, width: int, taps: int, dim: int, normed: bool):
        super().__init__()
        self.embedding = nn.Embedding(n_codes, width)
        self.input = NormedWeight((dim, width, taps), None, kaiming_, normed)
        self.hidden = NormedWeight((dim, dim, 1), (dim,), kaiming_, normed)
        self.output = NormedWeight((n_codes, dim, 1), (n_codes,), lecun_, normed)

    def forward(self, codes: Tensor, conditioning: Tensor) -> Tensor:
        """Codes (B, taps - 1 + L), conditioning (B, L, H) -> logits (B, L, n_codes)."""
        x = F.conv1d(self.embedding(codes).transpose(1, 2), self.input.value()).transpose(1, 2)
        x = torch.relu(x + conditioning)
        x = torch.relu(F.linear(x, self.hidden.value().squeeze(-1), self.hidden.bias))
        return F.linear(x, self.output.value().squeeze(-1), self.output.bias)


class SampleRNN(nn.Module):
    """Reads codes and gives logits; a backbone of :class:`~.code_model.CodeModel` without encoder and decoder.

    Args:
        frame_sizes: see the module; ``[8, 2, 2]`` has three tiers, ``[16, 4]`` two.
        n_rnn: recurrent layers of a tier.
        d_hidden: width of the tiers.
        d_model: width of the embedding of codes.
        bits: of a code.
        learn_h0: whether the initial states are trained.
        weight_norm: weight normalisation of all that is neither recurrent nor an embedding.
        quantization: how codes are decoded to amplitudes: ``"mu-law"`` or ``"linear"``.

    Raises:
        ConfigError: there is no frame size.
        UnknownNameError: no such quantization.
    """

    d_input, goes_on = None, True

    def __init__(
        self,
        frame_sizes: Sequence[Count] = (8, 2, 2),
        n_rnn: Count = 1,
        d_hidden: Count = 1024,
        d_model: Count = 256,
        bits: Count = 8,
        learn_h0: bool = True,
        weight_norm: bool = True,
        quantization: str = "mu-law",
    ):
        super().__init__()
        if not frame_sizes:
            raise ConfigError("frame_sizes must name at least one size", "SampleRNN")
        if quantization not in QUANTIZATIONS:
            raise UnknownNameError("quantization", str(quantization), QUANTIZATIONS)
        self.n_codes, self.quantization = 2**bits, quantization
        self.frames = [math.prod(frame_sizes[: i + 1]) for i in range(len(frame_sizes))]
        self.lookback = self.frames[-1]
        self.warm_up, self.d_output = self.lookback - 1, self.n_codes
        self.frame_level_rnns = nn.ModuleList(
            Tier(frame, factor, d_hidden, n_rnn, weight_norm, learn_h0) for frame, factor in zip(self.frames, frame_sizes, strict=True)
        )
        self.sample_level_mlp = SampleMLP(self.n_codes, d_model, frame_sizes[0], d_hidden, weight_norm)

    def amplitudes(self, like: Tensor) -> Tensor:
        """(n_codes,): what a tier reads for each code, twice its decoded value; of the type and device of ``like``."""
        value = torch.arange(self.n_codes, dtype=torch.float64) / (self.n_codes // 2) - 1
        if self.quantization == "mu-law":
            value = value.sign() * (self.n_codes ** value.abs() - 1) / (self.n_codes - 1)
        return (2 * value).to(like)

    def forward(self, codes: Tensor, state: list[Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
        """Logits of the codes that follow each of the last L.

        Args:
            codes: (B, lookback - 1 + L) int64.
            state: of each tier, (n_rnn, B, H); None at the beginning.

        Returns:
            (B, L, n_codes) and the state after the L codes, to go on from if L is a multiple of ``lookback``.
        """
        length = codes.size(1) - self.warm_up
        codes = F.pad(codes, (0, -length % self.lookback), value=self.n_codes // 2)
        samples = self.amplitudes(self.frame_level_rnns[0].input_expand.bias)[codes]
        above, after = None, []
        for i in range(len(self.frames) - 1, -1, -1):
            frame = self.frames[i]
            part = samples[:, self.lookback - frame : samples.size(1) - frame + 1]
            above, h = self.frame_level_rnns[i](part, above, None if state is None else state[i])
            after.append(h)
        logits = self.sample_level_mlp(codes[:, self.lookback - self.frames[0] :], above)
        return logits[:, :length], after[::-1]

    def stepper(self, batch: int, mode: str | None, encoder: None = None, decoder: None = None) -> PlainSampleRNN:
        """Goes through ``batch`` sequences code by code.

        Args:
            batch: number of sequences.
            mode: ``"fused"``, with products of weights computed in advance, or ``"plain"``, layer by layer in the type of the weights;
                None: fused.
            encoder, decoder: none, as the model reads codes.

        Raises:
            UnknownNameError: no such mode.
        """
        check_name("mode of SampleRNN's steps", mode or "fused", ("fused", "plain"))
        return PlainSampleRNN(self, batch) if mode == "plain" else FastSampleRNN(self, batch)


def backbone_of(name: str, fields: Mapping[str, Any], source: str) -> SampleRNN:
    """The SampleRNN of a config section; see :func:`.build.build`."""
    return made_of(SampleRNN, fields, source=f"{source} ({name})")
