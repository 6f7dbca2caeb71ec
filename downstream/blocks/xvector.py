"""X-vector networks: from the frames of an utterance to one vector that tells who speaks.

Snyder et al. 2018, "X-vectors"; spec: downstream-speaker.md 4.3. Names of modules and parameters are S3PRL's, so its checkpoints load.
Padding never counts, except with ``published=True``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from downstream.blocks.pooling import PoolingByAttention, StatisticsByAttention, StatisticsPooling, TrueMeanPooling
from utility.training.fields import Count, Part, check_name

CONTEXTS = ((5, 1), (3, 2), (3, 3), (1, 1), (1, 1))  # frames and dilation of each layer


class TDNN(nn.Module):
    """A linear layer over a window of frames, ReLU, dropout and, if asked for, batch normalisation.

    Args:
        input_dim, output_dim: widths.
        context_size: frames in the window.
        dilation: distance between them.
        batch_norm: normalise the outputs.
        dropout_p: probability of dropping a value.
    """

    def __init__(self, input_dim: int, output_dim: int, context_size: int, dilation: int, batch_norm: bool = False, dropout_p: float = 0.0):
        super().__init__()
        self.context_size, self.dilation = context_size, dilation
        self.kernel = nn.Linear(input_dim * context_size, output_dim)
        self.nonlinearity = nn.ReLU()
        self.dropout = nn.Dropout(dropout_p)
        self.bn = nn.BatchNorm1d(output_dim) if batch_norm else None

    @property
    def lost(self) -> int:
        """By how many frames the output is shorter."""
        return (self.context_size - 1) * self.dilation

    def forward(self, features: Tensor) -> Tensor:
        """(B, T, input_dim) -> (B, T - lost, output_dim)."""
        frames = features.size(1) - self.lost
        window = [features[:, offset : offset + frames] for offset in range(0, self.lost + 1, self.dilation)]
        out = self.dropout(self.nonlinearity(self.kernel(torch.cat(window, dim=-1))))
        return out if self.bn is None else self.bn(out.transpose(1, 2)).transpose(1, 2)


class XVector(nn.Module):
    """Five :class:`TDNN`; the output is 14 frames shorter and sees 15.

    Args:
        input_dim: width of the features and of the inner layers.
        agg_dim: width of the output.
        dropout_p, batch_norm: of every layer.
    """

    def __init__(self, input_dim: int, agg_dim: Count = 1500, dropout_p: Part = 0.0, batch_norm: bool = False):
        super().__init__()
        widths = [input_dim] * 4 + [agg_dim]
        layers = (TDNN(input_dim, width, *window, batch_norm, dropout_p) for width, window in zip(widths, CONTEXTS, strict=True))
        self.module = nn.Sequential(*layers)
        self.output_dim, self.lost = agg_dim, sum(layer.lost for layer in self.module)

    def forward(self, features: Tensor) -> Tensor:
        """(B, T, input_dim) -> (B, T - 14, agg_dim)."""
        return self.module(features)


class Identity(nn.Module):
    """Leaves the frames as they are."""

    def __init__(self, input_dim: int, no_args: bool = True):
        super().__init__()
        self.output_dim, self.lost = input_dim, 0

    def forward(self, features: Tensor) -> Tensor:
        return features


FRAME_MODULES: dict[str, type[nn.Module]] = {"XVector": XVector, "Identity": Identity}
AGGREGATIONS: dict[str, Callable[..., nn.Module]] = {
    "MP": TrueMeanPooling,
    "SP": StatisticsPooling,
    "AP": PoolingByAttention,
    "ASP": StatisticsByAttention,
}


class UtteranceExtractor(nn.Module):
    """Two linear layers with ReLU in training; the vector of a speaker is what the first one gives.

    Args:
        input_dim: width of the pooled vector.
        out_dim: width of the speaker's vector.
    """

    def __init__(self, input_dim: int, out_dim: int):
        super().__init__()
        self.linear1, self.linear2, self.act_fn = nn.Linear(input_dim, out_dim), nn.Linear(out_dim, out_dim), nn.ReLU()

    def forward(self, pooled: Tensor) -> Tensor:
        """(B, input_dim) -> (B, out_dim), what the loss sees."""
        return self.act_fn(self.linear2(self.embedding(pooled)))

    def embedding(self, pooled: Tensor) -> Tensor:
        """(B, input_dim) -> (B, out_dim), non-negative, what speakers are compared by."""
        return self.act_fn(self.linear1(pooled))


class UtteranceIdentity(nn.Module):
    """ReLU, linear, ReLU; the loss sees what speakers are compared by."""

    def __init__(self, input_dim: int, out_dim: int):
        super().__init__()
        self.linear, self.act_fn = nn.Linear(input_dim, out_dim), nn.ReLU()

    def forward(self, pooled: Tensor) -> Tensor:
        """(B, input_dim) -> (B, out_dim)."""
        return self.act_fn(self.linear(self.act_fn(pooled)))

    embedding = forward


UTTERANCE_MODULES: dict[str, type[nn.Module]] = {"UtteranceExtractor": UtteranceExtractor, "UtteranceIdentity": UtteranceIdentity}


class SpeakerModel(nn.Module):
    """Frames to speaker vectors.

    Args:
        input_dim: width of the features, and of the speaker vectors.
        module: ``"XVector"`` or ``"Identity"``.
        agg_module: ``"SP"`` (mean and standard deviation), ``"MP"`` (mean), ``"AP"`` (mean by attention) or ``"ASP"`` (both by attention).
        utter_module: ``"UtteranceExtractor"`` or ``"UtteranceIdentity"``.
        options: keywords of the frame module.
        published: let one frame of padding, where there is any, into mean and deviation, as S3PRL does.

    Raises:
        UnknownNameError: no such module.
    """

    def __init__(
        self,
        input_dim: int,
        module: str = "XVector",
        agg_module: str = "SP",
        utter_module: str = "UtteranceExtractor",
        options: dict | None = None,
        published: bool = False,
    ):
        super().__init__()
        for kind, name, known in (
            ("module", module, FRAME_MODULES),
            ("agg_module", agg_module, AGGREGATIONS),
            ("utter_module", utter_module, UTTERANCE_MODULES),
        ):
            check_name(kind, name, known)
        self.framelevel_feature_extractor = FRAME_MODULES[module](input_dim, **(options or {}))
        self.agg_method = AGGREGATIONS[agg_module](self.framelevel_feature_extractor.output_dim, input_dim, published)
        self.utterancelevel_feature_extractor = UTTERANCE_MODULES[utter_module](self.agg_method.output_dim, input_dim)

    @property
    def least_frames(self) -> int:
        """How many frames an utterance needs."""
        return self.framelevel_feature_extractor.lost + 1

    def pooled(self, features: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, input_dim) padded features and (B,) frame counts, each at least ``least_frames`` -> (B, pooled width)."""
        frames = self.framelevel_feature_extractor(features)
        return self.agg_method(frames, lengths - self.framelevel_feature_extractor.lost)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """As :meth:`pooled` -> (B, input_dim), for the loss."""
        return self.utterancelevel_feature_extractor(self.pooled(features, lengths))

    def inference(self, features: Tensor, lengths: Tensor) -> Tensor:
        """As :meth:`pooled` -> (B, input_dim), to compare speakers by their cosine."""
        return self.utterancelevel_feature_extractor.embedding(self.pooled(features, lengths))
