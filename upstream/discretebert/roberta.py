"""fairseq's RoBERTa (Liu et al. 2019, arXiv 1907.11692) as the model of ``transformers``, weights mapped by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import RobertaConfig, RobertaModel

from utility.errors import CheckpointError
from utility.networks.weights import load_weights, renamed

from .tokens import PAD

_ENCODER = r"(?:encoder|decoder)\.(?:sentence_encoder\.)?"
_LAYER = _ENCODER + r"layers\.(\d+)\."
_TO = r"encoder.layer.\1."
_RULES: list[tuple[str, str | None]] = [
    (_ENCODER + r"embed_tokens\.weight", "embeddings.word_embeddings.weight"),
    (_ENCODER + r"embed_positions\.weight", "embeddings.position_embeddings.weight"),
    (_ENCODER + r"(?:emb_layer_norm|layernorm_embedding)\.(\w+)", r"embeddings.LayerNorm.\1"),
    (_LAYER + r"self_attn\.q_proj\.(\w+)", _TO + r"attention.self.query.\2"),
    (_LAYER + r"self_attn\.k_proj\.(\w+)", _TO + r"attention.self.key.\2"),
    (_LAYER + r"self_attn\.v_proj\.(\w+)", _TO + r"attention.self.value.\2"),
    (_LAYER + r"self_attn\.out_proj\.(\w+)", _TO + r"attention.output.dense.\2"),
    (_LAYER + r"self_attn_layer_norm\.(\w+)", _TO + r"attention.output.LayerNorm.\2"),
    (_LAYER + r"fc1\.(\w+)", _TO + r"intermediate.dense.\2"),
    (_LAYER + r"fc2\.(\w+)", _TO + r"output.dense.\2"),
    (_LAYER + r"final_layer_norm\.(\w+)", _TO + r"output.LayerNorm.\2"),
]
_OFFSET = PAD + 1
"""fairseq's positions begin behind the number of the padding token."""


def load_roberta(settings: Mapping[str, Any], weights: Mapping[str, Tensor], path: Path) -> RobertaModel:
    """The model without pooling layer and prediction head; sizes come from the weights, heads and dropouts from the settings.

    Raises:
        CheckpointError: weights are missing or do not fit.
    """
    found = renamed(_split(weights), _RULES)
    try:
        words, width = found["embeddings.word_embeddings.weight"].shape
        positions = len(found["embeddings.position_embeddings.weight"])
        inner = len(found["encoder.layer.0.intermediate.dense.weight"])
    except KeyError as missing:
        raise CheckpointError(f"{path} holds no RoBERTa: it has no weights for {missing}") from missing
    layers = 1 + max(int(name.split(".")[2]) for name in found if name.startswith("encoder.layer."))
    heads = settings.get("encoder_attention_heads") or 12
    if type(heads) is not int or heads < 1 or width % heads:
        raise CheckpointError(f"{path}: {heads!r} attention heads do not divide the width {width}")
    if positions <= _OFFSET:
        raise CheckpointError(f"{path}: a position table of {positions} rows has no room for a token")
    config = RobertaConfig(
        vocab_size=words,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=inner,
        max_position_embeddings=positions,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        pad_token_id=PAD,
        hidden_dropout_prob=settings.get("dropout", 0.1),
        attention_probs_dropout_prob=settings.get("attention_dropout", 0.1),
    )
    model = RobertaModel(config, add_pooling_layer=False)
    found["embeddings.token_type_embeddings.weight"] = torch.zeros(1, width)  # fairseq's model has none
    load_weights(model, found, path, extra_ok=True)
    return model


def most_tokens(model: RobertaModel) -> int:
    """The longest sequence that the position table has room for."""
    return model.config.max_position_embeddings - _OFFSET


def _split(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Older files have one matrix for query, key and value."""
    found: dict[str, Tensor] = {}
    for name, value in weights.items():
        if ".self_attn.in_proj_" in name:
            stem, _, kind = name.rpartition(".in_proj_")
            found |= {f"{stem}.{part}_proj.{kind}": piece for part, piece in zip("qkv", value.chunk(3), strict=True)}
        else:
            found[name] = value
    return found
