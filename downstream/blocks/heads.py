"""What sits on the projected features: a class per utterance, or one per frame.

A head is described in config.yaml as S3PRL does it, and its parameters have S3PRL's names::

    modelrc:
      projector_dim: 256
      select: UtteranceLevel
      UtteranceLevel:
        pooling: MeanPooling        # or AttentivePooling, with activation: ReLU, published: false
        pre_net:                    # optional, per frame before the pooling; or Convolution, which sees the neighbours
          select: FrameLevel
          FrameLevel: {hiddens: [256], activation: ReLU}
        post_net:                   # optional, a single linear layer otherwise
          select: FrameLevel
          FrameLevel: {hiddens: [256]}

Recognition tasks choose among :func:`sequence_heads`, which may give fewer frames than they get.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from downstream.blocks.convolution import Convolution
from downstream.blocks.pooling import POOLINGS, activation_named
from downstream.blocks.recurrent import RNNs
from downstream.blocks.wav2letter import Wav2Letter
from utility.errors import UnknownNameError
from utility.training.fields import Count, check_fields, check_name, check_options, keywords_of


class FrameLevel(nn.Module):
    """Hidden layers, each followed by an activation, and a linear layer on every frame.

    Args:
        input_dim: width of the features.
        output_dim: number of classes.
        hiddens: widths of the hidden layers; none by default.
        activation: a class of torch.nn.
    """

    def __init__(self, input_dim: int, output_dim: int, hiddens: Sequence[Count] | None = None, activation: str = "ReLU"):
        super().__init__()
        widths = [input_dim, *(hiddens or [])]
        layers = [layer for ends in pairwise(widths) for layer in (nn.Linear(*ends), activation_named(activation))]
        self.hiddens = nn.Sequential(*layers)
        self.linear = nn.Linear(widths[-1], output_dim)

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, ..., input_dim) -> (B, ..., output_dim); ``lengths`` are passed on."""
        return self.linear(self.hiddens(features)), lengths


class UtteranceLevel(nn.Module):
    """Pools the frames of an utterance and classifies the result.

    Args:
        input_dim: width of the features.
        output_dim: number of classes.
        pooling: ``"MeanPooling"`` or ``"AttentivePooling"``.
        activation: of the attentive pooling.
        pre_net: description of a head that maps each frame to the same width before the pooling.
        post_net: description of the head that maps the pooled vector to the classes; one linear layer by default.
        published: see :func:`downstream.blocks.pooling.attend`.
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        pooling: str = "MeanPooling",
        activation: str = "ReLU",
        pre_net: Mapping[str, Any] | None = None,
        post_net: Mapping[str, Any] | None = None,
        published: bool = False,
    ):
        super().__init__()
        if pooling not in POOLINGS:
            raise UnknownNameError("pooling", pooling, POOLINGS)
        self.pre_net = build_head(pre_net, input_dim, input_dim) if pre_net else None
        self.pooling = POOLINGS[pooling](input_dim, activation=activation, published=published)
        self.post_net = build_head(post_net or {"select": "FrameLevel"}, input_dim, output_dim)

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """
        Args:
            features: (B, T, input_dim).
            lengths: (B,), the numbers of true frames.

        Returns:
            logits (B, output_dim), and lengths of one, as (B,).
        """
        if self.pre_net is not None:
            features, lengths = self.pre_net(features, lengths)
        return self.post_net(self.pooling(features, lengths), torch.ones_like(lengths))


Head = Callable[..., nn.Module]
HEADS: dict[str, Head] = {"FrameLevel": FrameLevel, "Convolution": Convolution, "UtteranceLevel": UtteranceLevel}


def sequence_heads(upstream_rate: int) -> dict[str, Head]:
    """The heads of recognition tasks: a class per frame, of fewer frames than the features have if the head is so described.

    Args:
        upstream_rate: samples per feature frame.
    """
    recurrent = {head.__name__: partial(head, upstream_rate=upstream_rate) for head in (RNNs, Wav2Letter)}
    return {"FrameLevel": FrameLevel, "Convolution": Convolution, **recurrent}


def build_head(
    described: Mapping[str, Any], input_dim: int, output_dim: int, heads: Mapping[str, Head] = HEADS, source: str = "modelrc"
) -> nn.Module:
    """The head that a config describes.

    Args:
        described: ``{"select": name, name: {options}}``; other fields are the task's own.
        input_dim: width of the features.
        output_dim: number of classes.
        heads: the classes to choose from; what a config must not set is bound with :func:`functools.partial`.
        source: the section that error sentences name.

    Raises:
        UnknownNameError: no such head, pooling or activation.
        ConfigError: an option that the head does not have, or that makes no sense.
    """
    name = described.get("select")
    check_name(f"head in {source}.select", name, heads)
    options = described.get(name) or {}
    bound = heads[name].keywords if isinstance(heads[name], partial) else ()
    check_fields(options, keywords_of(heads[name], besides=("input_dim", "output_dim", *bound)), source=f"{source}.{name}")
    check_options(heads[name], options, source=f"{source}.{name}")
    return heads[name](input_dim, output_dim, **options)
