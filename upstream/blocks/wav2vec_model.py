"""wav2vec (Schneider et al. 2019, arXiv 1904.05862): convolutional extractor and causal convolutional aggregator."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from upstream.blocks.fairseq_files import read_fairseq
from upstream.blocks.wav2vec_config import Wav2VecConfig, wav2vec_config
from upstream.blocks.wav2vec_quantizer import ACTIVATIONS, QUANTIZERS
from utility.networks.weights import fitted, local_path, read_checkpoint


def load_wav2vec(ckpt: str | Path, refresh: bool = False) -> Wav2VecModel:
    """The model of a checkpoint, converted or fairseq's own, given by path or URL.

    Raises:
        CheckpointError: unreadable, another kind of model, unsupported, or weights that do not fit.
    """
    path = local_path(ckpt, refresh)
    read = read_fairseq(read_checkpoint(path), path)
    config = wav2vec_config(read, str(path))
    return fitted(lambda: Wav2VecModel(config), read.weights, path, extra_ok=True)  # the predictions' weights lie beside them


def _norm(channels: int, config: Wav2VecConfig) -> nn.GroupNorm:
    """Over all channels and the whole utterance, padding included."""
    return nn.GroupNorm(1, channels, affine=not config.non_affine_group_norm)


class FeatureExtractor(nn.Module):
    """Convolutions without bias or padding, each with norm and activation."""

    def __init__(self, config: Wav2VecConfig):
        super().__init__()
        self.log_compression = config.log_compression
        self.conv_layers = nn.ModuleList()
        inputs = 1
        for width, kernel, stride in config.conv_feature_layers:
            convolution = nn.Conv1d(inputs, width, kernel, stride, bias=False)
            dropout, norm = nn.Dropout(config.dropout_features), _norm(width, config)
            self.conv_layers.append(nn.Sequential(convolution, dropout, norm, ACTIVATIONS[config.activation]()))
            inputs = width

    def forward(self, wavs: Tensor) -> Tensor:
        """(B, L) to (B, C, T)."""
        x = wavs[:, None]
        for layer in self.conv_layers:
            x = layer(x)
        return x.abs().log1p() if self.log_compression else x


class Aggregator(nn.Module):
    """Convolutions over the frames so far, each with norm and activation, and with residual connections."""

    def __init__(self, config: Wav2VecConfig):
        super().__init__()
        self.skip, self.scale = config.skip_connections_agg, math.sqrt(config.residual_scale)
        self.conv_layers = nn.ModuleList()
        inputs = config.embed if config.vq_type == "none" else config.codeword
        for width, kernel, _ in config.conv_aggregator_layers:
            pad = (nn.ConstantPad1d((kernel - 1, 0), 0.0)) if config.agg_zero_pad else nn.ReplicationPad1d((kernel - 1, 0))
            convolution = nn.Conv1d(inputs, width, kernel, bias=not config.no_conv_bias)
            dropout, norm = nn.Dropout(config.dropout_agg), _norm(width, config)
            self.conv_layers.append(nn.Sequential(pad, convolution, dropout, norm, ACTIVATIONS[config.activation]()))
            inputs = width

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, C, T) to the outputs of all layers."""
        outputs = []
        for layer in self.conv_layers:
            x = (layer(x) + x) * self.scale if self.skip else layer(x)
            outputs.append(x)
        return outputs


class Wav2VecModel(nn.Module):
    """Extractor, codebook (of vq-wav2vec) and aggregator under the published names of their weights."""

    def __init__(self, config: Wav2VecConfig):
        super().__init__()
        self.config = config
        self.feature_extractor = FeatureExtractor(config)
        self.vector_quantizer = QUANTIZERS[config.vq_type](config) if config.vq_type in QUANTIZERS else None
        self.feature_aggregator = Aggregator(config)

    def codes(self, wavs: Tensor) -> Tensor:
        """(B, L) waveforms to the codebook's entries, (B, T, groups), of a model that has one."""
        return self.vector_quantizer(self.feature_extractor(wavs).transpose(1, 2))[1]

    def forward(self, wavs: Tensor) -> dict[str, Any]:
        """(B, L) waveforms to frames, (B, T, ...).

        Returns:
            ``hidden_states``: the outputs of the extractor and of all layers of the aggregator; of vq-wav2vec ``codewords``, ``codeids``.
        """
        x = z = self.feature_extractor(wavs).transpose(1, 2)
        result: dict[str, Any] = {}
        if self.vector_quantizer is not None:
            x, codes = self.vector_quantizer(z)
            result = {"codewords": x, "codeids": codes}
        layers = [state.transpose(1, 2) for state in self.feature_aggregator(x.transpose(1, 2))]
        return {**result, "hidden_states": [z, *layers]}
