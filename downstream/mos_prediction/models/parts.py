"""What the predictors share: what they are told beside the features, what they answer, and the projection to a score per frame."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from utility.errors import UnknownNameError

DROPOUT = 0.3
OUTPUT_TYPES = ("scalar", "categorical")
ACTIVATIONS = {"ReLU": nn.ReLU, "GELU": nn.GELU, "Tanh": nn.Tanh, "SiLU": nn.SiLU, "LeakyReLU": nn.LeakyReLU}


@dataclass(frozen=True)
class Conditions:
    """What is known of each utterance beside its features; None where a predictor does not ask.

    Attributes:
        listeners: (B,) indices; in inference the mean listener is taken in any case.
        domains: (B,) indices of the data sets of a pool.
        phonemes, references: (B, L) symbol indices, zero behind an item's own, and (B,) their numbers.
    """

    listeners: Tensor | None = None
    domains: Tensor | None = None
    phonemes: tuple[Tensor, Tensor] | None = None
    references: tuple[Tensor, Tensor] | None = None


@dataclass(frozen=True)
class FrameScores:
    """What a predictor says of each frame, before any averaging; None where it has no such head.

    Attributes:
        mean: (B, T) score by listeners on average, or (B, T, C) logits of a categorical head.
        listener: (B, T) score by the given listener.
        log_variance: (B, T) of ``mean``.
        classes: (B, T, C) logits of the additional categorical head.
    """

    mean: Tensor | None = None
    listener: Tensor | None = None
    log_variance: Tensor | None = None
    classes: Tensor | None = None


@dataclass(frozen=True)
class Answer:
    """Utterance scores (B,), with (B,) log variances and (B, T, C) logits where the predictor has them."""

    scores: Tensor
    log_variances: Tensor | None = None
    confidences: Tensor | None = None


class Projection(nn.Module):
    """Two linear layers, per frame.

    Args:
        input_dim, hidden_dim: widths.
        activation: between the two, one of ``ACTIVATIONS``.
        output_type: ``scalar`` or ``categorical``.
        output_dim: classes of a categorical output.
        output_step: class c stands for the score 1 + c output_step.
        range_clipping: a scalar is brought into (1, 5) by 2 tanh(z) + 3.
        uncertain: a scalar has a log variance beside it.
    """

    def __init__(
        self,
        input_dim: int,
        hidden_dim: int,
        activation: str = "ReLU",
        output_type: str = "scalar",
        output_dim: int = 1,
        output_step: float = 1.0,
        range_clipping: bool = False,
        uncertain: bool = False,
    ):
        super().__init__()
        if output_type not in OUTPUT_TYPES:
            raise UnknownNameError("output type", str(output_type), OUTPUT_TYPES)
        if activation not in ACTIVATIONS:
            raise UnknownNameError("activation", str(activation), ACTIVATIONS)
        self.output_type, self.output_step, self.range_clipping, self.uncertain = output_type, output_step, range_clipping, uncertain
        width = output_dim if output_type == "categorical" else 1 + uncertain
        self.net = nn.Sequential(
            nn.Linear(input_dim, hidden_dim), ACTIVATIONS[activation](), nn.Dropout(DROPOUT), nn.Linear(hidden_dim, width)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """(B, T, D) -> (B, T) scores and their log variances, or (B, T, C) logits and None."""
        y = self.net(x)
        if self.output_type == "categorical":
            return y, None
        score = y[..., 0].tanh() * 2 + 3 if self.range_clipping else y[..., 0]
        return score, y[..., 1] if self.uncertain else None

    def scores(self, output: Tensor) -> Tensor:
        """(B, T) scores of what :meth:`forward` gives: the likeliest class of each frame where it has classes."""
        return output.argmax(-1) * self.output_step + 1 if self.output_type == "categorical" else output


def over_frames(scores: Tensor, lengths: Tensor | None = None) -> Tensor:
    """(B,) means of (B, T), over the first ``lengths`` (B,) frames of each item, or over all."""
    if lengths is None:
        return scores.float().mean(-1) if not scores.is_floating_point() else scores.mean(-1)
    mask = torch.arange(scores.size(1), device=scores.device) < lengths[:, None]
    return (scores * mask).sum(-1) / lengths


def beside(x: Tensor, *vectors: Tensor) -> Tensor:
    """(B, T, D) with (B, E) vectors appended to each of their item's frames."""
    return torch.cat([x, *(vector[:, None].expand(-1, x.size(1), -1) for vector in vectors)], -1)


def last_index(embedding: nn.Embedding, batch: int, device: torch.device) -> Tensor:
    """(B,) the index of the mean listener, the last one."""
    return torch.full((batch,), embedding.num_embeddings - 1, device=device)
