"""The head: where in the passage is the answer to the question?"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from downstream.blocks.frames import downsample
from downstream.blocks.pooling import frame_mask
from utility.training.fields import Count, Part


class Encoder(nn.Module):
    """A linear layer, then residual convolutions over time (layer norm, convolution, GELU, dropout). Padding never counts.

    Args:
        input_dim: width of the features.
        dim: width of everything else.
        dilations: distance of the frames that each convolution sees.
        kernel_size: frames that a convolution sees; odd.
        dropout: part of the activations that is dropped in training.
    """

    def __init__(self, input_dim: int, dim: int, dilations: list[int], kernel_size: int, dropout: float):
        super().__init__()
        self.linear = nn.Linear(input_dim, dim)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in dilations)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(dim, dim, kernel_size, padding=kernel_size // 2 * dilation, dilation=dilation) for dilation in dilations
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor, inside: Tensor) -> Tensor:
        """(B, T, input_dim), (B, T, 1) bool -> (B, T, dim)"""
        hidden = self.linear(features) * inside
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            seen = (norm(hidden) * inside).transpose(1, 2)
            hidden = (hidden + self.dropout(F.gelu(convolution(seen).transpose(1, 2)))) * inside
        return hidden


class SpanFinder(nn.Module):
    """Start and end of the answer from the frames of question and passage.

    Question and passage go through one encoder; the passage then through a second one that sees further, so that a step knows what was
    said around it. All of this is computed once per passage. A question meets it in two ways: by its summary, with which each step of the
    passage is multiplied, element by element and as scalar products; and by its keywords, which the passage is searched for. A small
    encoder on top of both gives the scores.

    Args:
        input_dim: width of the features.
        stack: frames that make one step.
        dim: width of both encoders.
        dilations, context_dilations: of the convolutions of the first and the second encoder.
        match_dim: width of the encoder on top.
        heads: scalar products, and half as many kinds of likeness.
        head_dim: width of what they compare.
        kernel_size: of all convolutions.
        dropout: in all encoders.
    """

    def __init__(
        self,
        input_dim: int,
        stack: int = 1,
        dim: Count = 256,
        dilations: Sequence[Count] = (1, 2, 4),
        context_dilations: Sequence[Count] = (1, 2, 4, 8),
        match_dim: Count = 64,
        heads: Count = 8,
        head_dim: Count = 24,
        kernel_size: Count = 5,
        dropout: Part = 0.1,
    ):
        super().__init__()
        self.stack = stack
        self.encoder = Encoder(input_dim * stack, dim, list(dilations), kernel_size, dropout)
        self.context = Encoder(dim, dim, list(context_dilations), kernel_size, dropout)
        self.norm, self.context_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.keywords = Keywords(dim, max(1, heads // 2), head_dim)
        self.summary = Summary(dim)
        self.products = Products(dim, heads, head_dim)
        self.passage, self.by_passage, self.by_question = (nn.Linear(dim, match_dim) for _ in range(3))
        self.match = Encoder(2 * match_dim + heads + 2 * self.keywords.heads, match_dim, [1, 2], kernel_size, dropout)
        self.match_norm, self.output = nn.LayerNorm(match_dim), nn.Linear(match_dim + heads, 2)

    def forward(self, passages: tuple[Tensor, Tensor], questions: tuple[Tensor, Tensor], owners: Tensor) -> tuple[Tensor, Tensor]:
        """
        Args:
            passages: (P, T, input_dim) and lengths (P,).
            questions: (Q, S, input_dim) and lengths (Q,).
            owners: (Q,), the passage of each question.

        Returns:
            (2, Q, T') logits of start and end, -inf outside of the passage, and the number of steps of each passage (Q,).
        """
        told, lengths, inside = self._encoded(*passages)
        asked, _, within = self._encoded(*questions)
        known = self.context_norm(self.context(told, inside))
        summary = self.summary(asked, within)
        products = self.products(known, summary, owners)
        gated = self.by_passage(known)[owners] * self.by_question(summary).unsqueeze(1)
        keywords = self.keywords(told, inside, asked, within, owners)
        inside = inside[owners]
        matched = self.match(torch.cat([self.passage(known)[owners], gated, products, keywords], dim=-1), inside)
        logits = self.output(torch.cat([self.match_norm(matched), products], dim=-1))
        return logits.masked_fill(~inside, float("-inf")).permute(2, 0, 1), lengths[owners]

    def _encoded(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Steps (B, T', dim), zero outside, their numbers (B,), and where they are (B, T', 1)."""
        features, lengths = downsample(features, lengths, self.stack, "concat")
        inside = frame_mask(lengths, features.size(1)).unsqueeze(-1)
        return self.norm(self.encoder(features, inside)) * inside, lengths, inside


class Summary(nn.Module):
    """One vector per question: several averages of its steps, weighted by attention.

    Args:
        dim: width of the steps and of the result.
        views: number of averages.
    """

    def __init__(self, dim: int, views: int = 4):
        super().__init__()
        self.attention = nn.Linear(dim, views)
        self.layers = nn.Sequential(nn.Linear(views * dim, dim), nn.GELU(), nn.LayerNorm(dim))

    def forward(self, asked: Tensor, within: Tensor) -> Tensor:
        """(Q, S, dim), (Q, S, 1) bool -> (Q, dim)"""
        weights = self.attention(asked).masked_fill(~within, float("-inf")).softmax(dim=1)
        return self.layers((weights.transpose(1, 2) @ asked).flatten(1))


class Products(nn.Module):
    """Scalar products of each step of a passage with the question's summary.

    Args:
        dim: width of both.
        heads: how many products.
        head_dim: width of the vectors.
    """

    def __init__(self, dim: int, heads: int, head_dim: int):
        super().__init__()
        self.heads, self.scale = heads, head_dim**-0.5
        self.of_passage, self.of_question = (nn.Linear(dim, heads * head_dim) for _ in range(2))

    def forward(self, known: Tensor, summary: Tensor, owners: Tensor) -> Tensor:
        """(P, T, dim), (Q, dim), (Q,) -> (Q, T, heads)"""
        told, asked = (linear(x).unflatten(-1, (self.heads, -1)) for linear, x in ((self.of_passage, known), (self.of_question, summary)))
        return torch.einsum("qthd,qhd->qth", told[owners], asked) * self.scale


class Keywords(nn.Module):
    """How much the passage around each step sounds like the parts of the question that matter.

    Likeness is the cosine of a linear map, as in query by example, averaged over ``LENGTH`` steps in which passage and question go on
    together. The question's steps have learned weights; the best and the average likeness under them are taken, relative to the passage's
    mean.

    Args:
        dim: width of the steps.
        heads: kinds of likeness.
        head_dim: width of the maps.
    """

    LENGTH = 7
    _SCALE = 5.0

    def __init__(self, dim: int, heads: int, head_dim: int):
        super().__init__()
        self.heads = heads
        self.map, self.weights = nn.Linear(dim, heads * head_dim), nn.Linear(dim, heads)
        self.sharpness = nn.Parameter(torch.full((heads, 1, 1), 10.0))

    def forward(self, told: Tensor, inside: Tensor, asked: Tensor, within: Tensor, owners: Tensor) -> Tensor:
        """(P, T, dim), (P, T, 1) bool, (Q, S, dim), (Q, S, 1) bool, (Q,) -> (Q, T, 2 heads)"""
        passages, questions = (self._mapped(x, where) for x, where in ((told, inside), (asked, within)))
        alike = _along_the_diagonal(torch.einsum("qthd,qshd->qhts", passages[owners], questions), self.LENGTH)
        weights = self.weights(asked).masked_fill(~within, -1e4).log_softmax(dim=1).transpose(1, 2).unsqueeze(2)
        best = torch.logsumexp(alike * self.sharpness + weights, dim=-1, keepdim=True) / self.sharpness
        both = torch.cat([best.squeeze(-1), (alike * weights.exp()).sum(dim=-1)], dim=1).transpose(1, 2)
        inside = inside[owners]
        mean = (both * inside).sum(dim=1, keepdim=True) / inside.sum(dim=1, keepdim=True)
        return (both - mean) * self._SCALE * inside

    def _mapped(self, steps: Tensor, where: Tensor) -> Tensor:
        """Unit vectors (B, T, heads, head_dim), zero where nothing is."""
        return F.normalize(self.map(steps).unflatten(-1, (self.heads, -1)), dim=-1) * where.unsqueeze(-1)


def _along_the_diagonal(alike: Tensor, length: int) -> Tensor:
    """(..., T, S) -> the same shape: each cell's mean with its neighbours along the diagonal, ``length`` (odd) in all."""
    steps, asked = alike.shape[-2:]
    padded = F.pad(alike, (length // 2,) * 4)
    return sum(padded[..., place : place + steps, place : place + asked] for place in range(length)) / length
