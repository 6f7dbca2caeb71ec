"""Small modules that stand in for those of Hugging Face models where these cannot represent a published net."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RelativeAttention(nn.Module):
    """WavLM's self-attention with bucketed relative positions, gated or not (2110.13900, section 3.2; specs/upstreams.md, section 11.7).

    Logits are q k^T / sqrt(d) + gate * bias, with the bias of the first layer for all. Parameters are named as Hugging Face's, which always
    gates and computes the weights of all heads one after the other; this uses the fused attention kernel.

    Args:
        dim: width.
        heads: number of heads.
        dropout: of the attention weights in train mode.
        buckets, max_distance: of the relative positions.
        gated: each layer gates the bias by its input.
        first: this layer owns the embedding of the buckets.
    """

    def __init__(self, dim: int, heads: int, dropout: float, buckets: int, max_distance: int, gated: bool, first: bool):
        super().__init__()
        self.heads, self.dropout, self.buckets, self.max_distance, self.gated = heads, dropout, buckets, max_distance, gated
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(dim, dim) for _ in range(4))
        if gated:
            self.gru_rel_pos_const = nn.Parameter(torch.ones(1, heads, 1, 1))
            self.gru_rel_pos_linear = nn.Linear(dim // heads, 8)
        if first:
            self.rel_attn_embed = nn.Embedding(buckets, heads)

    def position_bias(self, frames: int) -> Tensor:
        """(H, T, T): the bias of each query (second axis) towards each key, before any gate; of the first layer only."""
        distances = torch.arange(1 - frames, frames, device=self.rel_attn_embed.weight.device)
        by_distance = self.rel_attn_embed(relative_bucket(distances, self.buckets, self.max_distance)).T
        return by_distance.unfold(1, frames, 1).flip(1)  # the window that starts at the distance of the first key, for each query

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | None = None, position_bias: Tensor | None = None, index: int = 0
    ) -> tuple[Tensor, None, Tensor | None]:
        """
        Args:
            hidden_states: (B, T, D).
            attention_mask: (B, 1, T, T) to be added to the logits.
            position_bias: (H, T, T).
            index: unused; Hugging Face's layers pass it.

        Returns:
            (B, T, D), None in place of the attention weights, and the bias as it was given.
        """
        logits = position_bias[None]
        if self.gated:
            logits = self._gate(self._split(hidden_states)) * logits
        if attention_mask is not None:
            logits = logits + attention_mask
        query, key, value = (self._split(project(hidden_states)) for project in (self.q_proj, self.k_proj, self.v_proj))
        dropout = self.dropout if self.training else 0.0
        out = F.scaled_dot_product_attention(query, key, value, logits.to(query.dtype), dropout)
        return self.out_proj(out.transpose(1, 2).flatten(2)), None, position_bias

    def _split(self, x: Tensor) -> Tensor:
        """(B, T, D) to (B, H, T, D / H)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def _gate(self, x: Tensor) -> Tensor:
        """(B, H, T, 1) from the layer's input, split into heads."""
        sums = self.gru_rel_pos_linear(x).unflatten(-1, (2, 4)).sum(-1)
        update, reset = torch.sigmoid(sums).chunk(2, dim=-1)
        return update * (reset * self.gru_rel_pos_const - 1.0) + 2.0


def relative_bucket(distances: Tensor, buckets: int, max_distance: int) -> Tensor:
    """The bucket of each key position minus query position: half of the buckets for each sign; of these, half for single distances and half
    in logarithmic steps up to ``max_distance``, beyond which all share the last."""
    half = buckets // 2
    exact = half // 2
    size = distances.abs()
    steps = torch.log(size.clamp(min=1).float() / exact) / math.log(max_distance / exact) * (half - exact)
    far = (exact + steps).long().clamp(max=half - 1)
    return torch.where(size < exact, size, far) + half * (distances > 0)


def deep_position_conv(dim: int, groups: int, depth: int, kernel: int) -> nn.Module:
    """data2vec's position embedding, (B, T, D) to (B, T, D): ``depth`` convolutions, each with a layer norm without parameters and GELU."""
    from transformers import Data2VecAudioConfig
    from transformers.models.data2vec.modeling_data2vec_audio import Data2VecAudioPositionalConvEmbedding

    config = Data2VecAudioConfig(
        hidden_size=dim, num_conv_pos_embeddings=depth, conv_pos_kernel_size=kernel, num_conv_pos_embedding_groups=groups
    )
    return Data2VecAudioPositionalConvEmbedding(config)
