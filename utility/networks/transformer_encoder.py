"""Runs the encoder of a Hugging Face speech model layer by layer and keeps every state, in S3PRL's number, order and values.

Hugging Face's own ``hidden_states`` differ in the last entry (without the final layer norm since transformers 5), cannot take the padding
masks of fairseq's HuBERT and WavLM, drop layers at random in train mode and write zeros into their input.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from utility.networks.transformer_masks import key_mask, without_padding
from utility.networks.transformer_parts import RelativeAttention


def encoder_states(encoder: nn.Module, x: Tensor, valid: Tensor | None, norm_first: bool, recompute: bool = False) -> list[Tensor]:
    """The inputs of all layers and the output of the last.

    Args:
        encoder: of a Wav2Vec2, HuBERT, UniSpeech-SAT, WavLM or Wav2Vec2-Conformer model.
        x: (B, T, D) projected features.
        valid: (B, T) True at valid frames, or None; others are zeroed and attended by none.
        norm_first: the layers normalise their inputs; the final layer norm is then still to be applied to the last state
            (:func:`with_final_norm`), where otherwise it came before the first layer.
        recompute: see :func:`called`.

    Returns:
        layers + 1 tensors (B, T, D).
    """
    x = without_padding(x, valid)
    extra = _positions(encoder, x)
    if hasattr(encoder, "pos_conv_embed"):
        x = x + encoder.pos_conv_embed(x)
    if not norm_first:
        x = encoder.layer_norm(x)
    states = [encoder.dropout(x)]
    mask = key_mask(valid, x)
    for layer in encoder.layers:
        output = called(layer, states[-1], recompute, attention_mask=mask, **extra)
        states.append(output[0] if isinstance(output, tuple) else output)
    return states


def called(module: nn.Module, x: Tensor, recompute: bool, **kwargs: Any) -> Any:
    """``module(x, **kwargs)``; with ``recompute``, in train mode, its inner activations are computed again in the backward pass instead of
    kept."""
    if recompute and module.training and torch.is_grad_enabled():
        return checkpoint(module, x, use_reentrant=False, **kwargs)
    return module(x, **kwargs)


def with_final_norm(encoder: nn.Module, states: Sequence[Tensor]) -> list[Tensor]:
    """The states of a ``norm_first`` encoder with its final layer norm on the last."""
    return [*states[:-1], encoder.layer_norm(states[-1])]


def _positions(encoder: nn.Module, x: Tensor) -> dict[str, Any]:
    """What the layers of this encoder take about positions."""
    if hasattr(encoder, "embed_positions"):
        position = encoder.embed_positions
        if hasattr(position, "cached_sequence_length"):
            position.cached_sequence_length = None  # it keys its cache by length alone, so that a moved model would mix devices
        return {} if position is None else {"relative_position_embeddings": position(x)}
    attention = getattr(encoder.layers[0], "attention", None) if len(encoder.layers) else None
    return {"position_bias": attention.position_bias(x.size(1))} if isinstance(attention, RelativeAttention) else {}


@contextmanager
def outputs_of(modules: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """Collects what these modules return while the context lasts, in the order in which they run."""
    outputs: list[Tensor] = []
    handles = [module.register_forward_hook(lambda _module, _inputs, output: outputs.append(output)) for module in modules]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()
