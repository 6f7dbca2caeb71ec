"""What predicts each code of a recording from those before it: an embedding, a backbone, a linear layer.

Names in the state dict are those of the public checkpoints (specs/audio-generation.md, 6.1): ``encoder.0.weight``, ``model.*`` and
``decoder.0.output_transform.*``; a backbone that reads codes and gives logits itself has neither encoder nor decoder.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from .graphed import graphed

N_CODES = 256


class Backbone(Protocol):
    """What stands between encoder and decoder, a ``nn.Module``.

    Parameters that want a learning rate or a decay of their own have the attribute ``_optim = {"lr": ..., "weight_decay": ...}`` (either
    may be absent: the general one holds).

    Attributes:
        d_input: the width H of what it reads; None: it reads the codes themselves and gives logits.
        d_output: the width of what it gives.
        warm_up: how many zero tokens must stand before the first code of a forward pass.
        goes_on: whether a sequence may come in parts, each with the ``warm_up`` codes and the state of the last.
    """

    d_input: int | None
    d_output: int
    warm_up: int
    goes_on: bool

    def __call__(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """(B, warm_up + L, d_input), or codes (B, warm_up + L) -> ((B, L, d_output), what the next part of the sequence begins with)."""

    def stepper(self, batch: int, mode: str | None, encoder: Tensor | None, decoder: tuple[Tensor, Tensor] | None) -> Stepper:
        """Generates code by code with the current weights, embedding (n_codes, H), and output layer ((n_codes, H), (n_codes)).

        A backbone may leave it out and have in its place ``default_state(batch, device=...)``, ``step(x, state) -> (y, state)`` with x and
        y of (B, H), and, if its step wants preparation, ``setup_step(mode)``.
        """


@runtime_checkable
class Stepper(Protocol):
    """A model that goes through ``batch`` sequences one code at a time.

    Attributes:
        warm_up: how many zero tokens must be fed after a reset before the first logits count.
    """

    warm_up: int

    def step(self, codes: Tensor) -> Tensor:
        """(B,) int64 -> logits (B, n_codes) float32 of the codes that follow."""

    def reset(self) -> None:
        """Forgets everything that was fed."""


class OutputLayer(nn.Module):
    """The linear layer from the backbone's width to the logits, under the name that checkpoints have for it."""

    def __init__(self, d_output: int, n_codes: int):
        super().__init__()
        self.output_transform = nn.Linear(d_output, n_codes)

    def forward(self, x: Tensor) -> Tensor:
        """(..., d_output) -> (..., n_codes)."""
        return self.output_transform(x)


class CodeModel(nn.Module):
    """Logits of each code, given those before it.

    Args:
        backbone: see :class:`Backbone`.
        n_codes: how many codes there are.

    Attributes:
        encoder, model, decoder: embedding, backbone, output layer.
        warm_up: zero tokens that must stand before the first code in :meth:`forward`.
    """

    def __init__(self, backbone: nn.Module, n_codes: int = N_CODES):
        super().__init__()
        self.n_codes, self.warm_up = n_codes, backbone.warm_up
        reads_codes = backbone.d_input is None
        self.encoder = nn.Sequential() if reads_codes else nn.Sequential(nn.Embedding(n_codes, backbone.d_input))
        self.model = backbone
        self.decoder = nn.Sequential() if reads_codes else nn.Sequential(OutputLayer(backbone.d_output, n_codes))

    @torch.no_grad()
    def prepare(self, length: int, zero: int) -> None:
        """Before a training: one pass over ``length`` zero tokens, so that no later one changes a weight by itself.

        The kernel of S4 is tuned to a length, which the first pass and every longer one change together with a weight (spec 1.5). In two
        processes, or in an evaluation, that would happen at different times.
        """
        if any(True for _ in self.buffers()):
            self(torch.full((1, self.warm_up + length), zero, device=next(self.parameters()).device))

    def forward(self, codes: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Logits of the codes that follow each of the last L.

        Args:
            codes: (B, warm_up + L) int64.
            state: what an earlier part of the same sequences returned; None at their beginning.

        Returns:
            ((B, L, n_codes), state); the state is None for a model that cannot go on from one.
        """
        hidden, state = self.model(self.encoder(codes), state)
        return self.decoder(hidden), state

    def stepper(self, batch: int, mode: str | None = None) -> Stepper:
        """Goes through ``batch`` sequences code by code with the weights of now, on a GPU by replayed graphs; the model must not be trained
        meanwhile.

        Args:
            batch: number of sequences.
            mode: how the recurrence is computed, for backbones that know several ways; None: the fastest that is exact.
        """
        self.eval()
        with torch.no_grad():
            return graphed(self._steps(batch, mode), batch, next(self.parameters()).device)

    def _steps(self, batch: int, mode: str | None) -> Stepper:
        if not hasattr(self.model, "stepper"):
            return PlainStepper(self, batch, mode)
        encoder = self.encoder[0].weight.detach() if len(self.encoder) else None
        layer = self.decoder[0].output_transform if len(self.decoder) else None
        return self.model.stepper(batch, mode, encoder, layer and (layer.weight.detach(), layer.bias.detach()))


class PlainStepper:
    """Steps by the backbone's own ``step`` (see :class:`Backbone`).

    Args:
        model: in evaluation mode.
        batch: number of sequences.
        mode: for ``setup_step``.
    """

    def __init__(self, model: CodeModel, batch: int, mode: str | None = None):
        self.model, self.batch, self.warm_up = model, batch, model.warm_up
        if hasattr(model.model, "setup_step"):
            model.model.setup_step(mode)
        self.reset()

    def reset(self) -> None:
        """Begins anew."""
        self.state = self.model.model.default_state(self.batch, device=next(self.model.parameters()).device)

    @torch.no_grad()
    def step(self, codes: Tensor) -> Tensor:
        """(B,) -> (B, n_codes)."""
        hidden, self.state = self.model.model.step(self.model.encoder(codes), self.state)
        return self.model.decoder(hidden).float()
