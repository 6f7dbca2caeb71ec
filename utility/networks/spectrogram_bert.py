"""The Transformer encoder over spectrogram frames of Mockingjay, TERA and Audio ALBERT, with its reconstruction head.

Liu et al. 2020 (1910.12638 and 2007.06028), Chi et al. 2020 (2005.08575); specs/upstreams.md, section 7. Parameters have the names of the
published files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from utility.features.deltas_cmvn import frame_mask
from utility.networks.fields import filled, not_a_share, not_among, not_positive

ACTIVATIONS = {"gelu": F.gelu, "relu": F.relu, "swish": F.silu}
MASKED = -10000.0  # added to the scores of frames that are not attended to


@dataclass(frozen=True)
class TransformerConfig:
    """The network; fields as in the ``transformer`` section of S3PRL's configs.

    Args:
        input_dim: width of the frames; -1: that of the features.
        share_layer: one layer used ``num_hidden_layers`` times.
        pre_layer_norm: norms before attention and feed-forward instead of after them; each state then has a norm of its own.
        initializer_range: deviation of the weights of linear layers at first.
    """

    input_dim: int = -1
    hidden_size: int = 768
    num_hidden_layers: int = 3
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    share_layer: bool = False
    pre_layer_norm: bool = False

    @classmethod
    def of(cls, section: Mapping[str, Any], source: str) -> TransformerConfig:
        """From a config's ``transformer`` section.

        Raises:
            ConfigError: fields are impossible, all at once.
        """
        return filled(cls, section, source)

    def faults(self) -> list[str]:
        """What is impossible about it."""
        faults = not_positive(self, ["hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "layer_norm_eps"])
        faults += not_a_share(self, ["hidden_dropout_prob", "attention_probs_dropout_prob"]) + not_among(self, "hidden_act", ACTIVATIONS)
        if not faults and (self.hidden_size % self.num_attention_heads or self.hidden_size % 2):
            faults.append(f"hidden_size {self.hidden_size} must be even and a multiple of the {self.num_attention_heads} attention heads")
        return faults

    def norm(self) -> nn.LayerNorm:
        """A norm over the hidden width."""
        return nn.LayerNorm(self.hidden_size, eps=self.layer_norm_eps)


def sinusoids(frames: int, width: int) -> Tensor:
    """Position table (frames, width): entry (p, j) is the sine (even j) or cosine (odd j) of p / 10000^(2 floor(j / 2) / width)."""
    rates = 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angles = torch.arange(frames, dtype=torch.float64)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1).float()


class InputRepresentations(nn.Module):
    """Frames projected to the hidden width, plus positions; norm, dropout."""

    def __init__(self, input_size: int, config: TransformerConfig):
        super().__init__()
        self.spec_transform = nn.Linear(input_size, config.hidden_size)
        self.LayerNorm = config.norm()
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self._table: Tensor | None = None

    def forward(self, frames: Tensor) -> Tensor:
        """(B, T, input_size) -> (B, T, hidden_size)."""
        return self.dropout(self.LayerNorm(self.spec_transform(frames) + self._positions(frames)))

    def _positions(self, frames: Tensor) -> Tensor:
        """(T, hidden_size); the table grows when longer input comes."""
        table = self._table
        if table is None or len(table) < frames.size(1) or table.device != frames.device:
            with torch.inference_mode(False):
                self._table = table = sinusoids(frames.size(1), self.spec_transform.out_features).to(frames.device)
        return table[: frames.size(1)]


class SelfAttention(nn.Module):
    """Scaled dot-product attention of several heads, with dropout on the probabilities."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.heads, self.dropout = config.num_attention_heads, config.attention_probs_dropout_prob
        self.query, self.key, self.value = (nn.Linear(config.hidden_size, config.hidden_size) for _ in range(3))

    def forward(self, hidden: Tensor, bias: Tensor | None) -> Tensor:
        """(B, T, hidden_size) -> the same; ``bias`` (B, 1, 1, T) is added to the scores."""
        query, key, value = (part(hidden).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value))
        bias = None if bias is None else bias.to(query.dtype)
        dropout = self.dropout if self.training else 0.0
        return F.scaled_dot_product_attention(query, key, value, bias, dropout).transpose(1, 2).flatten(2)


class Addition(nn.Module):
    """Linear layer and dropout, added to what came before; then a norm, unless norms come first."""

    def __init__(self, width: int, config: TransformerConfig):
        super().__init__()
        self.dense = nn.Linear(width, config.hidden_size)
        self.LayerNorm = config.norm()
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.norm_first = config.pre_layer_norm

    def before(self, hidden: Tensor) -> Tensor:
        """What the sublayer takes of (B, T, hidden_size)."""
        return self.LayerNorm(hidden) if self.norm_first else hidden

    def forward(self, output: Tensor, hidden: Tensor) -> Tensor:
        """Adds the sublayer's output (B, T, width) to ``hidden`` (B, T, hidden_size)."""
        total = self.dropout(self.dense(output)) + hidden
        return total if self.norm_first else self.LayerNorm(total)


class Attention(nn.Module):
    """The first sublayer."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.self = SelfAttention(config)
        self.output = Addition(config.hidden_size, config)

    def forward(self, hidden: Tensor, bias: Tensor | None) -> Tensor:
        """(B, T, hidden_size) -> the same."""
        return self.output(self.self(self.output.before(hidden), bias), hidden)


class Intermediate(nn.Module):
    """The widening half of the second sublayer."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation = ACTIVATIONS[config.hidden_act]

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, T, hidden_size) -> (B, T, intermediate_size)."""
        return self.activation(self.dense(hidden))


class Layer(nn.Module):
    """Attention and feed-forward."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.attention = Attention(config)
        self.intermediate = Intermediate(config)
        self.output = Addition(config.intermediate_size, config)

    def forward(self, hidden: Tensor, bias: Tensor | None) -> Tensor:
        """(B, T, hidden_size) -> the same."""
        hidden = self.attention(hidden, bias)
        return self.output(self.intermediate(self.output.before(hidden)), hidden)


class Encoder(nn.Module):
    """The layers, and the norms of the states where norms come first."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        count = config.num_hidden_layers
        layers = [Layer(config)] * count if config.share_layer else [Layer(config) for _ in range(count)]
        self.layer = nn.ModuleList(layers)
        self.LayerNorm = nn.ModuleList(config.norm() for _ in range(count + 1)) if config.pre_layer_norm else None

    def forward(self, hidden: Tensor, bias: Tensor | None) -> list[Tensor]:
        """The input and each layer's output, (B, T, hidden_size)."""
        states = [hidden]
        for layer in self.layer:
            states.append(layer(states[-1], bias))
        return states if self.LayerNorm is None else [norm(state) for norm, state in zip(self.LayerNorm, states, strict=True)]


class SpectrogramBert(nn.Module):
    """
    Args:
        input_size: width of the frames.
        config: the network.
    """

    def __init__(self, input_size: int, config: TransformerConfig):
        super().__init__()
        self.input_representations = InputRepresentations(input_size, config)
        self.encoder = Encoder(config)
        initialise(self, config)

    def forward(self, frames: Tensor, valid: Tensor, inside: Tensor | None = None) -> list[Tensor]:
        """
        Args:
            frames: (B, T, input_size), zero-padded.
            valid: (B,) frames at the front of each item that are attended to.
            inside: (B,) frames that an item has, its padding not among them. They matter where an item has no valid frame: all that it has
                are then attended to alike, all T of the batch if this is None (as published).

        Returns:
            num_hidden_layers + 1 states, (B, T, hidden_size): the input representation and each layer's output.
        """
        return self.encoder(self.input_representations(frames), _score_bias(valid, inside, frames.size(1)))


class SpectrogramHead(nn.Module):
    """Reconstructs frames from the last state, in pre-training.

    Args:
        output_size: width of what is reconstructed.
        config: the network.
    """

    def __init__(self, output_size: int, config: TransformerConfig):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = ACTIVATIONS[config.hidden_act]
        self.LayerNorm = config.norm()
        self.output = nn.Linear(config.hidden_size, output_size)
        initialise(self, config)

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, T, hidden_size) -> (B, T, output_size)."""
        return self.output(self.LayerNorm(self.activation(self.dense(hidden))))


def valid_frames(frames: Tensor) -> Tensor:
    """(B,) number of frames of (B, T, D) whose sum is not zero: how published models tell padding."""
    return frames.detach().sum(-1).ne(0).sum(-1)


def initialise(module: nn.Module, config: TransformerConfig) -> None:
    """Linear layers: weights normal with deviation ``initializer_range``, biases zero; norms are the identity from the start."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, 0.0, config.initializer_range)
            nn.init.zeros_(part.bias)


def _score_bias(valid: Tensor, inside: Tensor | None, frames: int) -> Tensor | None:
    """(B, 1, 1, T) added to the attention's scores, or None where every frame is valid."""
    if bool((valid == frames).all()):
        return None
    bias = torch.zeros(len(valid), frames, device=valid.device).masked_fill(~frame_mask(valid, frames), MASKED)
    bias = bias if inside is None else bias.masked_fill(~frame_mask(inside, frames), -torch.inf)
    return bias[:, None, None]
