"""The published sizes of the convolution + Transformer family, and checkpoints of these sizes with random weights."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from utility.networks.prediction_heads import PredictionHeads
from utility.networks.transformer_body import build_body
from utility.networks.transformer_config import TransformerSettings
from utility.networks.weights import renamed

LARGE = {"encoder_embed_dim": 1024, "encoder_ffn_embed_dim": 4096, "encoder_layers": 24, "encoder_attention_heads": 16}
NORMED = {"extractor_mode": "layer_norm", "layer_norm_first": True}
DEEP = {"extractor_mode": "layer_norm", "conv_pos": 95, "pos_conv_depth": 5}
RELATIVE = {"relative_position_embedding": True, "gru_rel_pos": True, "max_distance": 800}
BIG = {"encoder_layers": 48, "encoder_attention_heads": 16, "conv_bias": True}

# specs/upstreams.md, 11.5; the counts there include a mask embedding, which is left out here
SIZES = {
    "wav2vec2_base_960": ("wav2vec2", {}, 94_371_712),
    "wav2vec2_large_960": ("wav2vec2", LARGE, 315_428_992),
    "wav2vec2_large_ll60k": ("wav2vec2", {**LARGE, **NORMED, "conv_bias": True}, 315_438_720),
    "xls_r_1b": ("wav2vec2", {**NORMED, **BIG, "encoder_embed_dim": 1280, "encoder_ffn_embed_dim": 5120}, 962_497_408),
    "xls_r_2b": ("wav2vec2", {**NORMED, **BIG, "encoder_embed_dim": 1920, "encoder_ffn_embed_dim": 7680}, 2_159_259_648),
    "hubert_base": ("hubert", {}, 94_371_712),
    "hubert_large_ll60k": ("hubert", {**LARGE, **NORMED}, 315_435_136),
    "wavlm_base": ("wav2vec2", RELATIVE, 94_381_936),
    "wavlm_large": ("wav2vec2", {**LARGE, **NORMED, **RELATIVE}, 315_453_120),
    "unispeech_sat_base": ("unispeech-sat", {}, 94_371_712),
    "unispeech_sat_large": ("unispeech-sat", {**LARGE, **NORMED}, 315_435_136),
    "data2vec_base_960": ("wav2vec2", DEEP, 93_164_288),
    "data2vec_large_ll60k": ("wav2vec2", {**LARGE, **DEEP}, 313_276_416),
}
NORMALIZED = ("layer_norm",)  # extractors whose waveforms are normalised in the published models
PREDICTIONS = 3  # of DistilHuBERT
_LAYER = r"(encoder\.layers\.\d+)"
FAIRSEQ_NAMES: tuple[tuple[str, str | None], ...] = (
    (r"feature_extractor\.conv_layers\.(\d+)\.conv\.(\w+)", r"feature_extractor.conv_layers.\1.0.\2"),
    (r"feature_projection\.layer_norm\.(\w+)", r"layer_norm.\1"),
    (r"feature_projection\.projection\.(\w+)", r"post_extract_proj.\1"),
    (r"encoder\.pos_conv_embed\.conv\.bias", r"encoder.pos_conv.0.bias"),
    (r"encoder\.pos_conv_embed\.conv\.parametrizations\.weight\.original0", r"encoder.pos_conv.0.weight_g"),
    (r"encoder\.pos_conv_embed\.conv\.parametrizations\.weight\.original1", r"encoder.pos_conv.0.weight_v"),
    (r"encoder\.pos_conv_embed\.layers\.(\d+)\.conv\.(\w+)", r"encoder.pos_conv.\1.0.\2"),
    (_LAYER + r"\.attention\.gru_rel_pos_linear\.(\w+)", r"\1.self_attn.grep_linear.\2"),
    (_LAYER + r"\.attention\.gru_rel_pos_const", r"\1.self_attn.grep_a"),
    (_LAYER + r"\.attention\.rel_attn_embed\.weight", r"\1.self_attn.relative_attention_bias.weight"),
    (_LAYER + r"\.attention\.(k|v|q|out)_proj\.(\w+)", r"\1.self_attn.\2_proj.\3"),
    (_LAYER + r"\.feed_forward\.intermediate_dense\.(\w+)", r"\1.fc1.\2"),
    (_LAYER + r"\.feed_forward\.output_dense\.(\w+)", r"\1.fc2.\2"),
    (_LAYER + r"\.layer_norm\.(\w+)", r"\1.self_attn_layer_norm.\2"),
)
_NORM = r"feature_extractor\.conv_layers\.(\d+)\.layer_norm\.(\w+)"


def random_body(name: str, seed: int = 0) -> nn.Module:
    """The net of one of :data:`SIZES`, with the random weights that Hugging Face begins with."""
    kind, given, _ = SIZES[name]
    torch.manual_seed(seed)
    return build_body(TransformerSettings.of(given, name), kind).eval()


def fairseq_weights(body: nn.Module, extractor: str) -> dict[str, Tensor]:
    """The weights of a net by fairseq's names."""
    norm = r"feature_extractor.conv_layers.\1.2.1.\2" if extractor == "layer_norm" else r"feature_extractor.conv_layers.\1.2.\2"
    return renamed(body.state_dict(), (*FAIRSEQ_NAMES, (_NORM, norm)))


def write_checkpoint(name: str, path: Path, body: nn.Module | None = None) -> str:
    """Writes S3PRL's converted form of one of :data:`SIZES`; returns the entry that reads it."""
    _, given, _ = SIZES[name]
    extractor = given.get("extractor_mode", "default")
    weights = fairseq_weights(body or random_body(name), extractor)
    task = {"normalize": extractor in NORMALIZED}
    torch.save({"task_cfg": task, "model_cfg": dict(given), "model_weight": weights}, path)
    family = next((f for f in ("hubert", "wavlm", "data2vec", "unispeech_sat") if name.startswith(f)), "wav2vec2")
    return f"{family}_local"


def distilhubert() -> tuple[nn.Module, nn.Module]:
    """Body and heads of DistilHuBERT, on the device of the context."""
    body = build_body(TransformerSettings.of({"encoder_layers": 2}, "distilhubert"), "hubert", projection_norm=False)
    return body, PredictionHeads(768, 768, PREDICTIONS, 768)


def write_distilhubert(path: Path) -> str:
    """Writes a DistilHuBERT of the published size; returns the entry that reads it."""
    torch.manual_seed(0)
    body, heads = distilhubert()
    weights = fairseq_weights(body, "default") | {f"output_layer.{name}": value for name, value in heads.state_dict().items()}
    config = {"encoder_layers": 2, "n_tasks": PREDICTIONS, "final_dim": 768}
    torch.save({"Distiller": weights, "Config": {"distiller": config}}, path)
    return "distiller_local"
