"""Wav2Vec2-BERT, which reads stacked log-mel frames (2312.05187)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from utility.errors import CheckpointError
from utility.features.deltas_cmvn import frame_mask
from utility.features.kaldi import KaldiFeatures
from utility.features.kaldi_options import KaldiOptions

from .files import CONFIG, read_weights
from .loading import load_net, make_config

SIXTEEN_BITS = 2.0**15  # Kaldi's scale of samples
VARIANCE_FLOOR = 1e-7


class Wav2Vec2BertNet(nn.Module):
    """Each item's states depend on it alone: its convolutions are causal and masked, and so is the attention.

    Args:
        settings: of ``config.json``.
        preprocessor: of the feature extractor: ``num_mel_bins`` and ``stride``.
        folder: with the weights.

    Attributes:
        rate: samples per position.
        least_samples: that give one.
    """

    batch_independent = True

    def __init__(self, settings: Mapping[str, Any], preprocessor: Mapping[str, Any], folder: Path):
        super().__init__()
        changes = {"add_adapter": False, "use_intermediate_ffn_before_adapter": False}  # they work on the last state alone
        config = make_config("wav2vec2-bert", settings, folder / CONFIG, **changes)
        bands, self.stride = preprocessor.get("num_mel_bins", 80), preprocessor.get("stride", 2)
        if not all(type(n) is int and n > 0 for n in (bands, self.stride)) or bands * self.stride != config.feature_projection_input_dim:
            raise CheckpointError(
                f"the preprocessor of {folder} stacks {self.stride} frames of {bands} mel bands, but the net takes "
                f"{config.feature_projection_input_dim} numbers"
            )
        weights, path = read_weights(folder, lambda name: True)
        self.model = load_net(transformers.Wav2Vec2BertModel, config, weights, path)
        options = KaldiOptions(num_mel_bins=bands)
        self.fbank = KaldiFeatures(options)
        self.rate = options.window_shift * self.stride
        self.least_samples = options.least_samples + max(self.stride - 1, 1) * options.window_shift  # one frame has no variance

    def forward(self, wavs: Sequence[Tensor]) -> tuple[list[Tensor], list[int]]:
        """
        Args:
            wavs: 1-D float32 waveforms, at least ``least_samples`` long.

        Returns:
            layers + 1 states of (B, T, D), and the positions of each item.
        """
        features, lengths = self.features(wavs)
        valid = frame_mask(torch.tensor(lengths, device=features.device), features.size(1))
        result = self.model(features, attention_mask=None if min(lengths) == max(lengths) else valid.long(), output_hidden_states=True)
        return [*result.hidden_states[:-1], result.last_hidden_state], lengths

    def features(self, wavs: Sequence[Tensor]) -> tuple[Tensor, list[int]]:
        """Kaldi's fbank, each band normalised over the item's frames, ``stride`` frames stacked: (B, T, stride * bands) and its lengths.

        Frames that fill no whole stack are left out; transformers pads and masks them.
        """
        padded, frames = self.fbank([wav * SIXTEEN_BITS for wav in wavs])
        stacked = []
        for rows, count in zip(padded, frames.tolist(), strict=True):
            variance, mean = torch.var_mean(rows[:count], dim=0, correction=1)
            whole = count // self.stride * self.stride
            normal = (rows[:whole] - mean) / torch.sqrt(variance + VARIANCE_FLOOR)
            stacked.append(normal.reshape(whole // self.stride, -1))
        return nn.utils.rnn.pad_sequence(stacked, batch_first=True), [len(rows) for rows in stacked]
