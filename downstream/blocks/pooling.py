"""From frames to one vector per utterance.

Names of parameters are those of S3PRL's poolings, so its checkpoints load. All take (B, T, D) features and (B,) frame counts and give
(B, D); padding never counts, except with ``published=True``, which repeats what a published implementation does with it.
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


class MeanPooling(nn.Module):
    """Average over the true frames."""

    def __init__(self, input_dim: int = 0, activation: str = "ReLU", published: bool = False):
        super().__init__()

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        inside = frame_mask(lengths, features.size(1)).unsqueeze(-1)
        return (features * inside).sum(dim=1) / lengths.clamp(min=1).unsqueeze(1)


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
            lengths = (lengths + 1).clamp(max=features.size(1))
        return self.pooling(self.linear(features.tanh()), lengths)


POOLINGS: dict[str, type[nn.Module]] = {"MeanPooling": MeanPooling, "AttentivePooling": AttentivePooling}
