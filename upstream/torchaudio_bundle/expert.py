"""The wav2vec 2.0, HuBERT and WavLM bundles of torchaudio."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from utility.errors import UsageError
from utility.features.waves import check_waves, pad_waves
from utility.networks.by_length import UnmaskedUpstream
from utility.networks.conv_layers import frames_of, least_samples
from utility.networks.transformer_masks import key_mask, valid_mask, without_padding

from .bundles import load_bundle


class UpstreamExpert(UnmaskedUpstream):
    """layers + 1 hidden states: the input of the first layer and each layer's output, the last after the final layer norm.

    Args:
        ckpt: the name of a bundle, such as ``WAV2VEC2_BASE``.
        model_config: must be left out.
        refresh: without effect; torch.hub keeps what it has.
        batch_independent: padding changes nothing.

    Raises:
        UnknownNameError: torchaudio has no such bundle.
        CheckpointError: its weights cannot be had.
    """

    def __init__(self, ckpt: str, model_config: str | None = None, refresh: bool = False, batch_independent: bool = False):
        super().__init__(batch_independent)
        if model_config is not None:
            raise UsageError(f"this upstream takes no config (-g {model_config}): the bundle holds the settings")
        self.model, self.normalize = load_bundle(str(ckpt))
        layers = self.model.feature_extractor.conv_layers
        self.convolutions = [(layer.conv.out_channels, layer.kernel_size, layer.stride) for layer in layers]
        self.rate = math.prod(layer.stride for layer in layers)
        self.least_samples = least_samples(self.convolutions)
        self.eval()

    def get_downsample_rates(self, key: str) -> int:
        """Samples per frame."""
        return self.rate

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        """
        Args:
            wavs: 1-D waveforms of 16 kHz in [-1, 1].

        Returns:
            ``hidden_states``, a tuple of (B, T, D); ``last_hidden_state``; ``lengths`` (B,), the frames of each item alone.
        """
        wavs = check_waves(wavs, self.least_samples)
        frames = [frames_of(len(wav), self.convolutions) for wav in wavs]
        if self.normalize:
            wavs = [F.layer_norm(wav, wav.shape) for wav in wavs]
        states = self.run(self._states, wavs) if self.batch_independent else self._states(pad_waves(wavs), frames)
        lengths = torch.tensor(frames, device=states[-1].device)
        return {"hidden_states": tuple(states), "last_hidden_state": states[-1], "lengths": lengths}

    def _states(self, padded: Tensor, frames: Sequence[int] | None = None) -> list[Tensor]:
        """(B, L) to layers + 1 of (B, T, D); with the frames of each item, padding is masked.

        Layer by layer, since torchaudio's own ``extract_features`` gives neither the first state nor the final norm, and knows no mask for
        WavLM (specs/upstreams.md, section 13.1).
        """
        features, _ = self.model.feature_extractor(padded, None)
        x, transformer = self.model.encoder.feature_projection(features), self.model.encoder.transformer
        valid = None if frames is None else valid_mask(frames, x.size(1), x.device)
        x = without_padding(x, valid)
        x = x + transformer.pos_conv_embed(x)
        post_norm = transformer.layer_norm_first  # says that the norm is before all layers, as in post-norm models
        x = transformer.dropout(transformer.layer_norm(x) if post_norm else x)
        states, bias = [x], None
        for layer in transformer.layers:
            x, bias = layer(x, position_bias=bias, **_mask_of(layer, valid, x))
            states.append(x)
        return states if post_norm else [*states[:-1], transformer.layer_norm(x)]


def _mask_of(layer: Any, valid: Tensor | None, x: Tensor) -> dict[str, Tensor]:
    """The padding mask in the form that the attention of this layer takes; WavLM's refuses the other."""
    if valid is None:
        return {}
    mask = key_mask(valid, x)
    return {"key_padding_mask": mask[:, 0, 0]} if hasattr(layer.attention, "rel_attn_embed") else {"attention_mask": mask}
