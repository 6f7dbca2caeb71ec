"""fairseq's names of convolution + Transformer weights to Hugging Face's (specs/upstreams.md, section 13.3)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from utility.networks.weights import check_weights, load_weights, renamed

_PREFIX = re.compile(r"^(w2v_encoder\.)?(w2v_model\.)?")
_BODY = ("feature_extractor.", "layer_norm.", "post_extract_proj.", "encoder.")
_LAYER = r"(encoder\.layers\.\d+)"

ENCODER_RULES: tuple[tuple[str, str | None], ...] = (
    (r"encoder\.pos_conv\.0\.bias", r"encoder.pos_conv_embed.conv.bias"),
    (r"encoder\.pos_conv\.0\.weight_g", r"encoder.pos_conv_embed.conv.parametrizations.weight.original0"),
    (r"encoder\.pos_conv\.0\.weight_v", r"encoder.pos_conv_embed.conv.parametrizations.weight.original1"),
    (r"encoder\.pos_conv\.(\d+)\.0\.(weight|bias)", r"encoder.pos_conv_embed.layers.\1.conv.\2"),
    (_LAYER + r"\.self_attn\.(k|v|q|out)_proj\.(weight|bias)", r"\1.attention.\2_proj.\3"),
    (_LAYER + r"\.self_attn\.grep_linear\.(weight|bias)", r"\1.attention.gru_rel_pos_linear.\2"),
    (_LAYER + r"\.self_attn\.grep_a", r"\1.attention.gru_rel_pos_const"),
    (_LAYER + r"\.self_attn\.relative_attention_bias\.weight", r"\1.attention.rel_attn_embed.weight"),
    (_LAYER + r"\.fc1\.(weight|bias)", r"\1.feed_forward.intermediate_dense.\2"),
    (_LAYER + r"\.fc2\.(weight|bias)", r"\1.feed_forward.output_dense.\2"),
    # conformer
    (_LAYER + r"\.self_attn\.rotary_emb\.inv_freq", None),
    (_LAYER + r"\.(ffn[12])\.layer_norm\.(weight|bias)", r"\1.\2_layer_norm.\3"),
    (_LAYER + r"\.(ffn[12])\.w_1\.(weight|bias)", r"\1.\2.intermediate_dense.\3"),
    (_LAYER + r"\.(ffn[12])\.w_2\.(weight|bias)", r"\1.\2.output_dense.\3"),
    # the layer norms of transformer layers come last: a conformer's self_attn_layer_norm keeps its name
)
_TRANSFORMER_NORM = (_LAYER + r"\.self_attn_layer_norm\.(weight|bias)", r"\1.layer_norm.\2")

BODY_RULES: tuple[tuple[str, str | None], ...] = (
    (r"feature_extractor\.conv_layers\.(\d+)\.0\.(weight|bias)", r"feature_extractor.conv_layers.\1.conv.\2"),
    (r"feature_extractor\.conv_layers\.0\.2\.(weight|bias)", r"feature_extractor.conv_layers.0.layer_norm.\1"),
    (r"feature_extractor\.conv_layers\.(\d+)\.2\.1\.(weight|bias)", r"feature_extractor.conv_layers.\1.layer_norm.\2"),
    (r"layer_norm\.(weight|bias)", r"feature_projection.layer_norm.\1"),
    (r"post_extract_proj\.(weight|bias)", r"feature_projection.projection.\1"),
)


def body_weights(weights: Mapping[str, Tensor], conformer: bool = False) -> dict[str, Tensor]:
    """The weights of the net itself by Hugging Face's names.

    Args:
        weights: by fairseq's names, with or without the prefix of a fine-tuned model. What lies beside the net is left out: mask
            embedding, quantizer, projections and label embeddings of pre-training, a CTC head.
        conformer: the layers are conformer layers.
    """
    body = {name: value for name, value in ((_PREFIX.sub("", n), v) for n, v in weights.items()) if name.startswith(_BODY)}
    return renamed(body, (*BODY_RULES, *ENCODER_RULES, *(() if conformer else (_TRANSFORMER_NORM,))))


def encoder_weights(weights: Mapping[str, Tensor], prefixes: tuple[str, ...] = ("encoder.",)) -> dict[str, Tensor]:
    """The weights with one of these prefixes, those of an encoder of Transformer layers by Hugging Face's names."""
    return renamed({name: value for name, value in weights.items() if name.startswith(prefixes)}, (*ENCODER_RULES, _TRANSFORMER_NORM))


_TO_FAIRSEQ: tuple[tuple[str, str | None], ...] = (
    (r"feature_extractor\.conv_layers\.(\d+)\.conv\.(weight|bias)", r"feature_extractor.conv_layers.\1.0.\2"),
    (r"feature_projection\.layer_norm\.(weight|bias)", r"layer_norm.\1"),
    (r"feature_projection\.projection\.(weight|bias)", r"post_extract_proj.\1"),
    (r"encoder\.pos_conv_embed\.conv\.bias", r"encoder.pos_conv.0.bias"),
    (r"encoder\.pos_conv_embed\.conv\.parametrizations\.weight\.original0", r"encoder.pos_conv.0.weight_g"),
    (r"encoder\.pos_conv_embed\.conv\.parametrizations\.weight\.original1", r"encoder.pos_conv.0.weight_v"),
    (r"encoder\.pos_conv_embed\.layers\.(\d+)\.conv\.(weight|bias)", r"encoder.pos_conv.\1.0.\2"),
    (_LAYER + r"\.attention\.gru_rel_pos_linear\.(weight|bias)", r"\1.self_attn.grep_linear.\2"),
    (_LAYER + r"\.attention\.gru_rel_pos_const", r"\1.self_attn.grep_a"),
    (_LAYER + r"\.attention\.rel_attn_embed\.weight", r"\1.self_attn.relative_attention_bias.weight"),
    (_LAYER + r"\.attention\.(k|v|q|out)_proj\.(weight|bias)", r"\1.self_attn.\2_proj.\3"),
    (_LAYER + r"\.feed_forward\.intermediate_dense\.(weight|bias)", r"\1.fc1.\2"),
    (_LAYER + r"\.feed_forward\.output_dense\.(weight|bias)", r"\1.fc2.\2"),
    (_LAYER + r"\.layer_norm\.(weight|bias)", r"\1.self_attn_layer_norm.\2"),
)


def fairseq_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a net of plain Transformer layers by fairseq's names: the way back of :func:`body_weights`."""
    layered = any(name.startswith("feature_extractor.conv_layers.1.layer_norm.") for name in weights)
    norm = (r"feature_extractor\.conv_layers\.(\d+)\.layer_norm\.(weight|bias)", r"feature_extractor.conv_layers.\1.2.")
    return renamed(weights, (*_TO_FAIRSEQ, (norm[0], norm[1] + (r"1.\2" if layered else r"\2"))))


def load_body(model: nn.Module, weights: Mapping[str, Tensor], path: Path, conformer: bool = False) -> None:
    """Loads a net strictly from weights by fairseq's names.

    Raises:
        CheckpointError: weights of the net are missing, unknown or of another shape.
    """
    load_weights(model, _of_body(model, weights, conformer), path, optional=_is_table)


def check_body(model: nn.Module, weights: Mapping[str, Tensor], path: Path, conformer: bool = False) -> None:
    """Raises what :func:`load_body` raises, and loads nothing; a net on the device ``meta`` will do."""
    check_weights(model, _of_body(model, weights, conformer), path, optional=_is_table)


def _is_table(name: str) -> bool:
    """Positions that are computed."""
    return name.startswith("encoder.embed_positions.")


def _of_body(model: nn.Module, weights: Mapping[str, Tensor], conformer: bool) -> dict[str, Tensor]:
    mapped = body_weights(weights, conformer)
    if not hasattr(model.encoder, "pos_conv_embed"):  # conformers' files hold one that nothing uses
        mapped = {name: value for name, value in mapped.items() if not name.startswith("encoder.pos_conv_embed.")}
    return mapped
