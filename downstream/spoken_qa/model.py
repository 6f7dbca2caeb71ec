"""The head: where in the passage is the answer to the question?"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from downstream.blocks.frames import downsample
from downstream.blocks.pooling import frame_mask


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

    Question and passage go through one encoder. Each step of the passage is compared with all steps of the question (cosine of a linear
    map, as in query by example), takes their average weighted by likeness, and the best likeness itself; a second encoder, which sees
    further, finds from there the steps at which the answer begins and ends.

    Args:
        input_dim: width of the features.
        stack: frames that make one step.
        dim: width of the layers.
        dilations, context_dilations: of the convolutions of the first and the second encoder.
        kernel_size: of all convolutions.
        dropout: in both encoders.
    """

    def __init__(
        self,
        input_dim: int,
        stack: int = 1,
        dim: int = 256,
        dilations: tuple[int, ...] = (1, 2, 4),
        context_dilations: tuple[int, ...] = (1, 2, 4, 8),
        kernel_size: int = 5,
        dropout: float = 0.1,
    ):
        super().__init__()
        self.stack = stack
        self.encoder = Encoder(input_dim * stack, dim, list(dilations), kernel_size, dropout)
        self.norm = nn.LayerNorm(dim)
        self.likeness = nn.Linear(dim, dim, bias=False)
        self.sharpness = nn.Parameter(torch.tensor(20.0))
        self.context = Encoder(4 * dim + 1, dim, list(context_dilations), kernel_size, dropout)
        self.output = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 2))

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
        told, lengths, inside = told[owners], lengths[owners], inside[owners]
        alike = F.normalize(self.likeness(told), dim=-1) @ F.normalize(self.likeness(asked), dim=-1).transpose(1, 2)
        alike = alike.masked_fill(~within.transpose(1, 2), -1.0)
        weights = (self.sharpness * alike).masked_fill(~within.transpose(1, 2), float("-inf")).softmax(dim=-1)
        answer = weights @ asked
        topic = (asked.sum(dim=1) / within.sum(dim=1)).unsqueeze(1).expand_as(told)
        seen = torch.cat([told, answer, told * answer, topic, alike.amax(dim=-1, keepdim=True)], dim=-1)
        logits = self.output(self.context(seen, inside))
        return logits.masked_fill(~inside, float("-inf")).permute(2, 0, 1), lengths

    def _encoded(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Steps (B, T', dim), zero outside, their numbers (B,), and where they are (B, T', 1)."""
        features, lengths = downsample(features, lengths, self.stack, "concat")
        inside = frame_mask(lengths, features.size(1)).unsqueeze(-1)
        return self.norm(self.encoder(features, inside)) * inside, lengths, inside
