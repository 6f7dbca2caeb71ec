"""From frames to one vector per utterance.

Names of parameters are those of S3PRL's poolings, so its checkpoints load. All take (B, T, D) features and (B,) frame counts and give
(B, D), those of speaker verification (B, ``output_dim``); padding never counts, except with ``published=True``, which repeats what a
published implementation does with it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from utility.errors import UnknownNameError


def activation_named(name: str) -> nn.Module:
    """An activation of torch.nn by its name, such as ``"ReLU"``.

    Raises:
        UnknownNameError: torch.nn has no such activation.
    """
    valid = [known for known in nn.modules.activation.__all__ if known not in ("MultiheadAttention", "Threshold")]
    if name not in valid:
        raise UnknownNameError("activation", name, valid)
    return getattr(nn, name)()


def frame_mask(lengths: Tensor, frames: int) -> Tensor:
    """(B, frames) bool, true on the first ``lengths`` frames of each item."""
    return torch.arange(frames, device=lengths.device) < lengths.unsqueeze(1)


def attend(features: Tensor, scores: Tensor, lengths: Tensor, published: bool = False) -> Tensor:
    """Average of frames weighted by a softmax over time.

    Args:
        features: (B, T, D).
        scores: (B, T), unnormalised.
        lengths: (B,), at least 1 each.
        published: add 1 to the scores of true frames instead of excluding the others. S3PRL's attentive pooling adds its boolean mask, so
            padding keeps weight and an utterance's result depends on its batch; checkpoints trained that way need it.

    Returns:
        (B, D)
    """
    inside = frame_mask(lengths, features.size(1))
    scores = scores + inside if published else scores.masked_fill(~inside, float("-inf"))
    return (scores.softmax(dim=1).unsqueeze(-1) * features).sum(dim=1)


def masked_mean(features: Tensor, lengths: Tensor) -> Tensor:
    """(B, T, D) and (B,) -> (B, D), the average over the first ``lengths`` frames of each item."""
    inside = frame_mask(lengths, features.size(1)).unsqueeze(-1)
    return (features * inside).sum(dim=1) / lengths.clamp(min=1).unsqueeze(1)


class MeanPooling(nn.Module):
    """Average over the true frames."""

    def __init__(self, input_dim: int = 0, activation: str = "ReLU", published: bool = False):
        super().__init__()

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        return masked_mean(features, lengths)


class _FrameScore(nn.Module):
    """Linear, activation, linear to one number per frame: (B, T, D) -> (B, T)."""

    def __init__(self, input_dim: int, activation: str):
        super().__init__()
        self.W_a = nn.Linear(input_dim, input_dim)
        self.act_fn = activation_named(activation)
        self.W = nn.Linear(input_dim, 1)

    def forward(self, features: Tensor) -> Tensor:
        return self.W(self.act_fn(self.W_a(features))).squeeze(-1)


class AttentivePooling(nn.Module):
    """Average weighted by a small network that sees each frame.

    Args:
        input_dim: D.
        activation: between the two layers of the network.
        published: see :func:`attend`.
    """

    def __init__(self, input_dim: int, activation: str = "ReLU", published: bool = False):
        super().__init__()
        self.sap_layer = _FrameScore(input_dim, activation)
        self.published = published

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        return attend(features, self.sap_layer(features), lengths, self.published)


class SelfAttentionPooling(nn.Module):
    """Average weighted by a linear score per frame (Safari et al. 2020, arXiv 2008.01077)."""

    def __init__(self, input_dim: int):
        super().__init__()
        self.W = nn.Linear(input_dim, 1)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        return attend(features, self.W(features).squeeze(-1), lengths)


class TanhSelfAttentionPooling(nn.Module):
    """:class:`SelfAttentionPooling` of the frames' tanh; S3PRL's ``SAP``."""

    def __init__(self, input_dim: int):
        super().__init__()
        self.sap_layer = SelfAttentionPooling(input_dim)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        return self.sap_layer(features.tanh(), lengths)


class TanhMeanPooling(nn.Module):
    """Average of a linear map of the frames' tanh; the pooling ``Mean`` of S3PRL's frame-level speaker models.

    Args:
        input_dim: D.
        published: let one frame of padding, where there is any, into the average.
    """

    def __init__(self, input_dim: int, published: bool = False):
        super().__init__()
        self.linear = nn.Linear(input_dim, input_dim)
        self.pooling = MeanPooling()
        self.published = published

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        if self.published:
            lengths = with_one_of_padding(lengths, features.size(1))
        return self.pooling(self.linear(features.tanh()), lengths)


def with_one_of_padding(lengths: Tensor, frames: int) -> Tensor:
    """The counts of frames that S3PRL's masked poolings take: one frame of padding, where there is any, counts."""
    return (lengths + 1).clamp(max=frames)


class TrueMeanPooling(nn.Module):
    """Average over the true frames; ``MP`` of S3PRL's speaker verification.

    Args:
        input_dim: D, also the width of the result.
        inner_dim: not used here.
        published: let one frame of padding, where there is any, into the average.
    """

    def __init__(self, input_dim: int, inner_dim: int = 0, published: bool = False):
        super().__init__()
        self.output_dim, self.published = input_dim, published

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        lengths = with_one_of_padding(lengths, features.size(1)) if self.published else lengths
        return masked_mean(features, lengths)


class StatisticsPooling(nn.Module):
    """Mean and standard deviation (unbiased, 0 of a single frame) over the true frames; ``SP``.

    Args:
        input_dim: D; the result is twice as wide.
        inner_dim: not used here.
        published: let one frame of padding, where there is any, into both.
    """

    def __init__(self, input_dim: int, inner_dim: int = 0, published: bool = False):
        super().__init__()
        self.output_dim, self.published = 2 * input_dim, published

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        lengths = with_one_of_padding(lengths, features.size(1)) if self.published else lengths
        mean = masked_mean(features, lengths)
        inside = frame_mask(lengths, features.size(1)).unsqueeze(-1)
        squares = ((features - mean.unsqueeze(1)).square() * inside).sum(dim=1)
        return torch.cat([mean, _root(squares / (lengths - 1).clamp(min=1).unsqueeze(1))], dim=-1)


def _root(variance: Tensor) -> Tensor:
    """Square root whose gradient is 0 at 0."""
    positive = variance > 0
    return torch.where(positive, torch.where(positive, variance, 1.0).sqrt(), 0.0)


class PoolingByAttention(nn.Module):
    """A linear layer on every frame and their average, weighted by a small network; ``AP``.

    Args:
        input_dim: D.
        inner_dim: width of the linear layer, and of the result.
        published: S3PRL's masks its padding as well, so that nothing differs.
    """

    def __init__(self, input_dim: int, inner_dim: int, published: bool = False):
        super().__init__()
        self.linear = nn.Linear(input_dim, inner_dim)
        self.sap_layer = _FrameScore(inner_dim, "ReLU")
        self.output_dim = inner_dim

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        features = self.linear(features)
        return attend(features, self.sap_layer(features), lengths)


class StatisticsByAttention(nn.Module):
    """As :class:`PoolingByAttention`, with mean and standard deviation (Okabe et al. 2018); ``ASP``.

    Args:
        input_dim: D.
        inner_dim: width of the linear layer; the result is twice as wide.
        published: as above.
    """

    def __init__(self, input_dim: int, inner_dim: int, published: bool = False):
        super().__init__()
        self.linear = nn.Linear(input_dim, inner_dim)
        self.ap_layer = _FrameScore(inner_dim, "ReLU")
        self.output_dim = 2 * inner_dim

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        features = self.linear(features)
        scores = self.ap_layer(features)
        mean, square = attend(features, scores, lengths), attend(features.square(), scores, lengths)
        return torch.cat([mean, ((square - mean.square()).clamp(min=0) + 1e-8).sqrt()], dim=-1)


POOLINGS: dict[str, type[nn.Module]] = {"MeanPooling": MeanPooling, "AttentivePooling": AttentivePooling}
