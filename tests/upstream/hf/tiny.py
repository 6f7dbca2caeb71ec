"""Random models of a few thousand weights, written as Hugging Face's ``save_pretrained`` does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2FeatureExtractor, WhisperFeatureExtractor

WINDOW = 16000  # samples of a window of the tiny Whisper
_LAYERS = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24, "layerdrop": 0.5}
_CONVOLUTIONS = {
    "conv_dim": (8,) * 7,
    "conv_stride": (5, 2, 2, 2, 2, 2, 2),
    "conv_kernel": (10, 3, 3, 3, 3, 2, 2),
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "mask_time_prob": 0.5,
    "vocab_size": 12,
}
_STABLE = {"do_stable_layer_norm": True, "feat_extract_norm": "layer"}
_WHISPER = {
    "d_model": 16,
    "encoder_layers": 3,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "max_source_positions": WINDOW // 320,
    "max_target_positions": 9,
    "vocab_size": 12,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
    "encoder_layerdrop": 0.5,
    "num_mel_bins": 80,
}
_BERT = {"feature_projection_input_dim": 160, "mask_time_prob": 0.5, "conv_depthwise_kernel_size": 5, "vocab_size": 12}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "wav2vec2": ("Wav2Vec2", {**_LAYERS, **_CONVOLUTIONS}),
    "xls-r": ("Wav2Vec2", {**_LAYERS, **_CONVOLUTIONS, **_STABLE, "add_adapter": True}),
    "hubert": ("Hubert", {**_LAYERS, **_CONVOLUTIONS, **_STABLE}),
    "wavlm": ("WavLM", {**_LAYERS, **_CONVOLUTIONS, **_STABLE, "num_buckets": 8, "max_bucket_distance": 20}),
    "unispeech": ("UniSpeech", {**_LAYERS, **_CONVOLUTIONS}),
    "unispeech-sat": ("UniSpeechSat", {**_LAYERS, **_CONVOLUTIONS}),
    "data2vec-audio": ("Data2VecAudio", {**_LAYERS, **_CONVOLUTIONS, "num_conv_pos_embeddings": 2, "conv_pos_kernel_size": 5}),
    "conformer": ("Wav2Vec2Conformer", {**_LAYERS, **_CONVOLUTIONS, "conv_depthwise_kernel_size": 5}),
    "sew": ("SEW", {**_LAYERS, **_CONVOLUTIONS}),
    "sew-d": ("SEWD", {**_LAYERS, **_CONVOLUTIONS}),
    "wav2vec2-bert": ("Wav2Vec2Bert", {**_LAYERS, **_BERT}),
    "whisper": ("Whisper", _WHISPER),
}
FEATURES = {"wav2vec2-bert": SeamlessM4TFeatureExtractor, "whisper": WhisperFeatureExtractor}


def save(name: str, folder: Path, head: str = "Model", **changes: Any) -> nn.Module:
    """Writes a model of :data:`MODELS` with its feature extractor; returns it in eval mode."""
    kind, settings = MODELS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = getattr(transformers, f"{kind}{head}")(getattr(transformers, f"{kind}Config")(**{**settings, **changes}))
        for weight in model.parameters():
            weight.data.add_(0.1 * torch.randn_like(weight))  # norms and biases off their defaults
    model.save_pretrained(folder)
    FEATURES.get(name, Wav2Vec2FeatureExtractor)().save_pretrained(folder)
    return model.eval()


def waves(*lengths: int) -> list[Tensor]:
    """Noise of these lengths, not around zero."""
    generator = torch.Generator().manual_seed(3)
    return [0.1 * torch.randn(n, generator=generator) + 0.02 for n in lengths]
