"""The published sizes of the convolution + Transformer family, and checkpoints of these sizes with random weights."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from utility.networks.prediction_heads import PredictionHeads
from utility.networks.transformer_body import build_body
from utility.networks.transformer_config import TransformerSettings
from utility.networks.transformer_weights import fairseq_weights

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


def random_body(name: str, seed: int = 0) -> nn.Module:
    """The net of one of :data:`SIZES`, with the random weights that Hugging Face begins with."""
    kind, given, _ = SIZES[name]
    torch.manual_seed(seed)
    return build_body(TransformerSettings.of(given, name), kind).eval()


def write_checkpoint(name: str, path: Path, body: nn.Module | None = None) -> str:
    """Writes S3PRL's converted form of one of :data:`SIZES`; returns the entry that reads it."""
    _, given, _ = SIZES[name]
    extractor = given.get("extractor_mode", "default")
    weights = fairseq_weights((body or random_body(name)).state_dict())
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
    weights = fairseq_weights(body.state_dict()) | {f"output_layer.{name}": value for name, value in heads.state_dict().items()}
    config = {"encoder_layers": 2, "n_tasks": PREDICTIONS, "final_dim": 768}
    torch.save({"Distiller": weights, "Config": {"distiller": config}}, path)
    return "distiller_local"
