"""The net of a convolution + Transformer upstream: a Hugging Face model, with other parts where it cannot represent the published net."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
import transformers
from torch import Tensor, nn

from utility.networks.transformer_config import TransformerSettings
from utility.networks.transformer_parts import RelativeAttention, deep_position_conv
from utility.networks.transformer_weights import check_body, load_body

Kind = Literal["wav2vec2", "hubert", "unispeech-sat"]
# Their modules are imported here and now. transformers would do so at the first use, which is on the meta device, and what they import with
# them (torchaudio) would keep its constants there for the whole process.
NETS = tuple(getattr(transformers, f"{name}Model") for name in ("Wav2Vec2", "Hubert", "UniSpeechSat", "WavLM", "Wav2Vec2Conformer"))


def build_body(settings: TransformerSettings, kind: Kind, projection_norm: bool = True) -> nn.Module:
    """A net without weights, on the device of the context (``with torch.device("meta")`` to count parameters for nothing).

    Args:
        settings: of the net.
        kind: Hugging Face's model for its plain Transformer layers; conformer layers and relative positions have models of their own.
        projection_norm: False leaves out the layer norm before the projection; the kind must be ``"hubert"``.

    Returns:
        ``feature_extractor``, ``feature_projection`` and ``encoder``, to be driven by :mod:`utility.networks.transformer_encoder`.
    """
    named = "wav2vec2-conformer" if settings.conformer else "wavlm" if settings.relative_position_embedding else kind
    # transformers has no fused attention for WavLM: ours (RelativeAttention) takes its place below
    attention = "eager" if named == "wavlm" else "sdpa"
    model = transformers.AutoModel.from_config(settings.hf_config(named, projection_norm), attn_implementation=attention)
    if hasattr(model, "masked_spec_embed"):  # UniSpeech-SAT has the mask embedding of pre-training always
        del model.masked_spec_embed
    if not settings.projected:
        model.feature_projection.projection = nn.Identity()
    if not settings.convolves_position:
        del model.encoder.pos_conv_embed
    elif settings.pos_conv_depth > 1:
        model.encoder.pos_conv_embed = deep_position_conv(
            settings.encoder_embed_dim, settings.conv_pos_groups, settings.pos_conv_depth, settings.position_kernel
        )
    if named == "wavlm":
        for index, layer in enumerate(model.encoder.layers):
            layer.attention = _relative_attention(settings, first=index == 0)
    return model


def load_model(
    settings: TransformerSettings, kind: Kind, weights: Mapping[str, Tensor], path: Path, projection_norm: bool = True
) -> nn.Module:
    """A net with the weights of a checkpoint, in eval mode on the CPU; draws no random number.

    Raises:
        CheckpointError: the weights do not fit the settings.
    """
    with torch.device("meta"), torch.random.fork_rng(devices=[]):  # some models fill a weight on the CPU whatever the device
        model = build_body(settings, kind, projection_norm)
    check_body(model, weights, path, settings.conformer)
    model.to_empty(device="cpu")
    if getattr(model.encoder, "embed_positions", None) is not None:  # holds computed tables, not weights
        model.encoder.embed_positions = type(model.encoder.embed_positions)(model.config)
    load_body(model, weights, path, settings.conformer)
    return model.eval()


def _relative_attention(settings: TransformerSettings, first: bool) -> RelativeAttention:
    return RelativeAttention(
        settings.encoder_embed_dim,
        settings.encoder_attention_heads,
        settings.attention_dropout,
        settings.num_buckets,
        settings.max_distance,
        settings.gru_rel_pos,
        first,
    )
