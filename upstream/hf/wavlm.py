"""WavLM's attention for Hugging Face's WavLM layers: the fused kernel in place of weights computed head by head."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from utility.networks.transformer_masks import key_mask
from utility.networks.transformer_parts import RelativeAttention


class FusedAttention(RelativeAttention):
    """As :class:`utility.networks.transformer_parts.RelativeAttention`, with the arguments that Hugging Face's encoder passes."""

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        position_bias: Tensor | None = None,
        index: int = 0,
        **kwargs: Any,
    ) -> tuple[Tensor, None, Tensor | None]:
        """
        Args:
            hidden_states: (B, T, D).
            attention_mask: (B, T), true at valid frames.
            position_bias: (H, T, T), what the first layer returned; None for the first layer, which makes it.

        Returns:
            (B, T, D), None in place of the attention weights, and the bias for the next layers.
        """
        if position_bias is None:
            position_bias = self.position_bias(hidden_states.size(1))
        mask = None if attention_mask is None else key_mask(attention_mask.bool(), hidden_states)
        return super().forward(hidden_states, mask, position_bias)


def fuse_attention(model: nn.Module) -> None:
    """Gives every layer of a WavLMModel the fused attention with the weights that it has."""
    config = model.config
    for index, layer in enumerate(model.encoder.layers):
        fused = FusedAttention(
            config.hidden_size,
            config.num_attention_heads,
            config.attention_dropout,
            config.num_buckets,
            config.max_bucket_distance,
            gated=True,
            first=index == 0,
        )
        fused.load_state_dict(layer.attention.state_dict())
        layer.attention = fused
    model.eval()
