"""DeCoAR 2.0 (2012.06659): a Transformer over log mel energies at 50 frames a second."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from upstream.blocks.transformer_family import numbered, refuse_config
from upstream.interfaces import UpstreamBase
from utility.errors import CheckpointError
from utility.features.kaldi import KaldiFeatures
from utility.features.kaldi_options import KaldiOptions
from utility.networks.transformer_body import build_body
from utility.networks.transformer_config import TransformerSettings
from utility.networks.transformer_encoder import encoder_states
from utility.networks.transformer_masks import valid_mask
from utility.networks.transformer_weights import encoder_weights
from utility.networks.weights import load_weights, local_path, read_checkpoint, section

STEP = 2  # every second frame of 10 ms is kept
SIZED_BY = {
    "encoder_embed_dim": ("post_extract_proj.weight", 0),
    "encoder_ffn_embed_dim": ("encoder.layers.0.fc1.weight", 0),
    "conv_pos": ("encoder.pos_conv.0.weight_v", 2),
}
_LAYER = re.compile(r"encoder\.layers\.(\d+)\.")


class UpstreamExpert(UpstreamBase):
    """layers + 1 hidden states: the input of each layer and the output of the last.

    Args:
        ckpt: path or URL of a checkpoint with the weights under ``model``.
        model_config: must be left out; sizes are read off the weights.
        refresh: download a URL again.
        batch_independent: accepted as by the others of the family, and true in any case.
        encoder_attention_heads: which the weights do not tell; 12 in the published model.
        gradient_checkpointing: less memory for more time in fine-tuning.

    Raises:
        CheckpointError: the file is no checkpoint of DeCoAR 2.0.
    """

    batch_independent = True

    def __init__(
        self,
        ckpt: str,
        model_config: str | None = None,
        refresh: bool = False,
        batch_independent: bool = False,
        encoder_attention_heads: int = 12,
        gradient_checkpointing: bool = False,
    ):
        super().__init__()
        refuse_config(model_config)
        path = local_path(ckpt, refresh)
        weights = section(read_checkpoint(path), path, "model")
        settings = settings_of(weights, encoder_attention_heads, path)
        self.model = load_net(settings, weights, path, gradient_checkpointing)
        options = {"num_mel_bins": self.model.post_extract_proj.in_features, "window_type": "hamming"}
        self.fbank = KaldiFeatures(KaldiOptions.of("fbank", options, "decoar2"), use_cmvn=True)
        self.rate = self.fbank.rate * STEP

    def get_downsample_rates(self, key: str) -> int:
        """Samples per frame."""
        return self.rate

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        """
        Args:
            wavs: 1-D waveforms of 16 kHz in [-1, 1].

        Returns:
            ``hidden_states``, a tuple of (B, T, D); ``last_hidden_state``; ``hidden_state_0`` ...; ``_hidden_states_info``, where each
            comes from; ``lengths`` (B,).
        """
        features, lengths = self.fbank(wavs)
        lengths = (lengths + STEP - 1) // STEP
        states = self.model(features[:, ::STEP], lengths.tolist())
        names = (*(f"self.model.encoder.layers[{i}]" for i in range(len(states) - 1)), "self.model.encoder")
        return {**numbered(states, names), "lengths": lengths}


class Decoar2(nn.Module):
    """Projection and encoder.

    Args:
        settings: of the encoder.
        bands: width of the features.
        recompute: the activations of each layer in the backward pass.
    """

    def __init__(self, settings: TransformerSettings, bands: int, recompute: bool = False):
        super().__init__()
        self.recompute = recompute
        self.post_extract_proj = nn.Linear(bands, settings.encoder_embed_dim)
        self.dropout_input = nn.Dropout(settings.dropout_input)
        self.encoder = build_body(settings, "wav2vec2").encoder

    def forward(self, features: Tensor, frames: list[int]) -> list[Tensor]:
        """(B, T, bands) and the frames of each item to layers + 1 states (B, T, D)."""
        x = self.dropout_input(self.post_extract_proj(features))
        return encoder_states(self.encoder, x, valid_mask(frames, x.size(1), x.device), norm_first=False, recompute=self.recompute)


def settings_of(weights: Any, heads: int, path: Path) -> TransformerSettings:
    """The sizes that the weights show, and the published model's constants.

    Raises:
        CheckpointError: weights that show them are missing.
    """
    if not isinstance(weights, Mapping):
        raise CheckpointError(f"{path} holds no weights under 'model', but a {type(weights).__name__}")
    shapes = {name: tuple(value.shape) for name, value in weights.items() if isinstance(value, Tensor)}
    missing = [name for name, axis in SIZED_BY.values() if len(shapes.get(name, ())) <= axis]
    if missing:
        raise CheckpointError(f"{path} is no checkpoint of DeCoAR 2.0: it lacks {', '.join(missing)}")
    given: dict[str, Any] = {field: shapes[name][axis] for field, (name, axis) in SIZED_BY.items()}
    given["conv_pos_groups"] = given["encoder_embed_dim"] // max(1, shapes["encoder.pos_conv.0.weight_v"][1])
    given["encoder_layers"] = 1 + max(int(match[1]) for match in map(_LAYER.match, shapes) if match)
    return TransformerSettings.of({**given, "encoder_attention_heads": heads, "dropout_input": 0.1}, path)


def load_net(settings: TransformerSettings, weights: Mapping[str, Any], path: Path, recompute: bool) -> Decoar2:
    """The net with its weights, in eval mode; other entries of the file are passed over, as by S3PRL."""
    with torch.device("meta"):
        net = Decoar2(settings, weights["post_extract_proj.weight"].size(1), recompute)
    net.to_empty(device="cpu")
    load_weights(net, encoder_weights(weights, ("encoder.", "post_extract_proj.")), path)
    return net.eval()
