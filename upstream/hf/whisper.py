"""The encoder of Whisper (2212.04356), in windows of 30 s."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import WhisperFeatureExtractor
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from utility.errors import CheckpointError

from .files import CONFIG, read_weights
from .loading import load_net, make_config

_ENCODER = ("encoder.", "model.encoder.")
_PREFIX = r"^(model\.)?encoder\."
_LEAST, _RANGE = 1e-10, 8.0  # floor of the mel energies; powers of ten below an item's loudest that are kept


class WhisperNet(nn.Module):
    """Every window is padded with silence to its full length, so that each item's states depend on it alone.

    Args:
        settings: of ``config.json``.
        preprocessor: of the feature extractor: ``n_fft`` and ``hop_length``.
        folder: with the weights; the decoder's are not read.

    Attributes:
        rate: samples per frame.
        window: samples of a window.
        least_samples: 1.
    """

    batch_independent, least_samples = True, 1
    prefix = "encoder."  # of the names in a file

    def __init__(self, settings: Mapping[str, Any], preprocessor: Mapping[str, Any], folder: Path):
        super().__init__()
        config = make_config("whisper", settings, folder / CONFIG)
        weights, path = read_weights(folder, lambda name: name.startswith(_ENCODER))
        self.model = load_net(WhisperEncoder, config, weights, path, {_PREFIX: ""})
        try:
            given = {key: preprocessor[key] for key in ("n_fft", "hop_length") if key in preprocessor}
            extractor = WhisperFeatureExtractor(feature_size=config.num_mel_bins, **given)
        except (ValueError, TypeError, ZeroDivisionError) as error:
            raise CheckpointError(f"the preprocessor of {folder} has impossible settings: {error}") from error
        self.n_fft, self.hop = extractor.n_fft, extractor.hop_length
        if not all(type(size) is int and size > 0 for size in (self.n_fft, self.hop)):
            raise CheckpointError(f"the preprocessor of {folder} has n_fft {self.n_fft!r} and hop_length {self.hop!r}, not whole numbers")
        self.rate = self.hop * self.model.conv1.stride[0] * self.model.conv2.stride[0]
        self.window = config.max_source_positions * self.rate
        self.register_buffer("bands", torch.from_numpy(extractor.mel_filters).float(), persistent=False)  # (frequencies, bands)
        self.register_buffer("taper", torch.hann_window(self.n_fft), persistent=False)

    def forward(self, wavs: Sequence[Tensor]) -> tuple[list[Tensor], list[int]]:
        """
        Args:
            wavs: 1-D float32 waveforms; longer ones than a window are encoded window by window.

        Returns:
            layers + 1 states of (B, T, D), zero behind an item's own frames, and these: ceil(samples / rate).
        """
        windows = [F.pad(part, (0, self.window - len(part))) for wav in wavs for part in wav.split(self.window)]
        result = self.model(self.features(torch.stack(windows)), output_hidden_states=True)
        counts = [-(-len(wav) // self.window) for wav in wavs]
        lengths = [-(-len(wav) // self.rate) for wav in wavs]
        return [_joined(state, counts, lengths) for state in (*result.hidden_states[:-1], result.last_hidden_state)], lengths

    def features(self, windows: Tensor) -> Tensor:
        """The log mel spectrogram of whole windows, (W, samples) to (W, bands, frames), as Whisper's feature extractor defines it."""
        with torch.autocast(windows.device.type, enabled=False):
            spectrum = torch.stft(windows, self.n_fft, self.hop, window=self.taper, return_complex=True)[..., :-1]
            energies = self.bands.T @ (spectrum.real.square() + spectrum.imag.square())
            logs = energies.clamp(min=_LEAST).log10()
            return (logs.maximum(logs.amax(dim=(1, 2), keepdim=True) - _RANGE) + 4.0) / 4.0


def _joined(state: Tensor, counts: list[int], lengths: list[int]) -> Tensor:
    """The windows of each item one behind the other, without the silence after its end."""
    items = [windows.flatten(0, 1)[:n] for windows, n in zip(state.split(counts), lengths, strict=True)]
    return nn.utils.rnn.pad_sequence(items, batch_first=True)
