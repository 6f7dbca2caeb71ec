"""S3PRL's predictor: segments of a second, a score of each, and how much a judge's opinion differs (Tseng et al. 2021, after MBNet)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from utility.training.fields import Count

from .parts import Answer, Conditions, FrameScores, over_frames


class MBNet(nn.Module):
    """(B, S, T, D) features of segments -> (B, S) scores.

    Args:
        input_dim: D, width of the features.
        num_listeners: judges, one more for those that training has not heard.
        projector_dim: width inside.
        clipping: keep scores within 1 to 5 by 2 tanh(z) + 3.
        attention_pooling: weigh the frames of a segment; otherwise each frame is scored and the mean taken.
    """

    def __init__(
        self, input_dim: int, num_listeners: int, projector_dim: Count = 256, clipping: bool = True, attention_pooling: bool = True
    ):
        super().__init__()
        self.connector = nn.Linear(input_dim, projector_dim)
        self.listener_embeddings = nn.Embedding(num_listeners, projector_dim)
        self.mean_branch, self.bias_branch = (_Branch(projector_dim, attention_pooling) for _ in range(2))
        self.clipping = clipping

    def forward(self, segments: Tensor, conditions: Conditions, lengths: Tensor | None = None) -> FrameScores:
        """Scores of each segment on average, and by the given judges."""
        x = self.connector(segments)
        mean = self.mean_branch(x)
        mean = mean.tanh() * 2 + 3 if self.clipping else mean
        judged = x + self.listener_embeddings(conditions.listeners)[:, None, None]
        return FrameScores(mean, mean + self.bias_branch(judged))

    def answer(self, segments: Tensor, conditions: Conditions, lengths: Tensor | None = None) -> Answer:
        """The mean score of each utterance's segments, of which the first ``lengths`` count."""
        anyone = torch.zeros(len(segments), dtype=torch.long, device=segments.device)  # has no part in the mean score
        return Answer(over_frames(self(segments, replace(conditions, listeners=anyone)).mean, lengths))


class _Branch(nn.Module):
    """(B, S, T, D) -> (B, S)."""

    def __init__(self, width: int, attention: bool):
        super().__init__()
        self.weight = nn.Linear(width, 1) if attention else None
        self.score = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        if self.weight is None:
            return self.score(x)[..., 0].mean(-1)
        return self.score((self.weight(x).softmax(2) * x).sum(2))[..., 0]
