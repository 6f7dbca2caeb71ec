"""Nets that read the waveform: wav2vec 2.0, HuBERT, WavLM, UniSpeech, UniSpeech-SAT, data2vec, SEW and their kin."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor

from utility.errors import CheckpointError
from utility.features.deltas_cmvn import frame_mask
from utility.features.waves import pad_waves
from utility.networks.by_length import UnmaskedUpstream
from utility.networks.conv_layers import frames_of, least_samples

from .files import CONFIG, read_weights
from .loading import load_net, make_config
from .wavlm import fuse_attention

CLASSES = {
    "wav2vec2": "Wav2Vec2Model",
    "wav2vec2-conformer": "Wav2Vec2ConformerModel",
    "hubert": "HubertModel",
    "wavlm": "WavLMModel",
    "unispeech": "UniSpeechModel",
    "unispeech-sat": "UniSpeechSatModel",
    "data2vec-audio": "Data2VecAudioModel",
    "sew": "SEWModel",
    "sew-d": "SEWDModel",
}
POSITIONS = "encoder.pos_conv_embed."  # which conformers have and do not use
VARIANCE_FLOOR = 1e-7  # that of Wav2Vec2FeatureExtractor


class WaveformNet(UnmaskedUpstream):
    """
    Args:
        model_type: one of :data:`CLASSES`.
        settings: of ``config.json``.
        preprocessor: of the feature extractor; without ``do_normalize`` waveforms are normalised, as by its default.
        folder: with the weights.
        batch_independent: run waveforms of equal length together in place of padding.

    Attributes:
        rate: samples per frame.
        least_samples: that give a frame.
    """

    def __init__(
        self, model_type: str, settings: Mapping[str, Any], preprocessor: Mapping[str, Any], folder: Path, batch_independent: bool
    ):
        super().__init__(batch_independent)
        # its adapter would give the last state another rate than the others
        config = make_config(model_type, settings, folder / CONFIG, add_adapter=False)
        weights, path = read_weights(folder, lambda name: True)
        unused = POSITIONS if model_type == "wav2vec2-conformer" else None
        self.model = load_net(getattr(transformers, CLASSES[model_type]), config, weights, path, unused=unused)
        if model_type == "wavlm":
            with torch.random.fork_rng(devices=[]):
                fuse_attention(self.model)
        if unused:
            del self.model.encoder.pos_conv_embed
        self.convolutions = list(zip(config.conv_dim, config.conv_kernel, config.conv_stride, strict=True))
        if not all(type(size) is int and size > 0 for layer in self.convolutions for size in layer):
            raise CheckpointError(f"{folder / CONFIG} has convolutions of impossible sizes (channels, kernel, stride): {self.convolutions}")
        self.normalize = preprocessor.get("do_normalize", True)
        if type(self.normalize) is not bool:
            raise CheckpointError(f"the preprocessor of {folder} has do_normalize {self.normalize!r}, not true or false")
        self.rate = math.prod(config.conv_stride)
        squeezed = getattr(config, "squeeze_factor", 1)  # SEW's layers see one frame for so many
        self.least_samples = least_samples(self.convolutions) + (squeezed - 1) * self.rate

    def forward(self, wavs: Sequence[Tensor]) -> tuple[list[Tensor], list[int]]:
        """
        Args:
            wavs: 1-D float32 waveforms, at least ``least_samples`` long.

        Returns:
            layers + 1 states of (B, T, D), and the frames of each item alone.
        """
        samples = [len(wav) for wav in wavs]
        if self.normalize:
            wavs = [F.layer_norm(wav, wav.shape, eps=VARIANCE_FLOOR) for wav in wavs]
        lengths = [frames_of(n, self.convolutions) for n in samples]
        if self.batch_independent:
            return self.run(self._states, wavs), lengths
        padded = pad_waves(wavs)
        if min(samples) == max(samples):
            return self._states(padded), lengths
        return self._states(padded, frame_mask(torch.tensor(samples, device=padded.device), padded.size(1)).long()), lengths

    def _states(self, padded: Tensor, mask: Tensor | None = None) -> list[Tensor]:
        result = self.model(padded, attention_mask=mask, output_hidden_states=True)
        last = result.last_hidden_state
        # transformers 5 leaves the final layer norm off its last hidden state (specs/upstreams.md, section 13.2)
        return [*(_stretched(state, last.size(1)) for state in result.hidden_states[:-1]), last]


def _stretched(state: Tensor, frames: int) -> Tensor:
    """A state of SEW's layers (B, T / 2, D) at the rate of its output, each frame repeated, zero where the output is."""
    if state.size(1) == frames:
        return state
    repeated = state.repeat_interleave(frames // state.size(1), dim=1)
    return F.pad(repeated, (0, 0, 0, frames - repeated.size(1)))
