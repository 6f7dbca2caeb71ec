"""Speech encoders of Hugging Face transformers, by hub id or local folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from upstream.interfaces import SAMPLE_RATE, UpstreamBase
from utility.errors import CheckpointError, UsageError, did_you_mean
from utility.features.waves import check_waves

from .files import read_config, read_preprocessor
from .source import SETTINGS, Source
from .wav2vec2_bert import Wav2Vec2BertNet
from .waveform import CLASSES, WaveformNet
from .whisper import WhisperNet

OTHERS = {"wav2vec2-bert": Wav2Vec2BertNet, "whisper": WhisperNet}


class UpstreamExpert(UpstreamBase):
    """layers + 1 hidden states: the input of the first layer and what each layer yields, the last after the encoder's final layer norm.

    Args:
        ckpt: a folder as ``save_pretrained`` writes it, ``ORG/NAME`` or ``ORG/NAME@REVISION`` on the hub.
        model_config: must be left out; the model holds its settings.
        refresh: download from the hub again.
        batch_independent: padding changes nothing (off: S3PRL's behaviour; Whisper and Wav2Vec2-BERT are so in any case).
        only: the architecture that is accepted, by transformers' ``model_type``; None for all.
        gradient_checkpointing: less memory for more time in fine-tuning, where transformers has it for the architecture.

    Raises:
        CheckpointError: there is no such model, it is of another kind, or its files do not fit each other.
        UsageError: an option that does not exist for the model.
    """

    def __init__(
        self,
        ckpt: str,
        model_config: str | None = None,
        refresh: bool = False,
        batch_independent: bool = False,
        only: str | None = None,
        gradient_checkpointing: bool = False,
    ):
        super().__init__()
        if model_config is not None:
            raise UsageError(f"this upstream takes no config (-g {model_config}): the model holds its settings")
        source = Source.of(ckpt, refresh)
        settings = source.settings()
        model_type, _ = read_config(settings)
        _check_kind(model_type, only, source.name)
        self.net = _net(model_type, source, batch_independent)
        self.preprocessors = {name: (settings / name).read_bytes() for name in SETTINGS[1:] if (settings / name).is_file()}
        if gradient_checkpointing and not self.model.supports_gradient_checkpointing:
            raise UsageError(f"gradient_checkpointing does not exist for models of type {model_type!r}")
        if gradient_checkpointing:
            earlier = self.model.gradient_checkpointing_enable  # of transformers before 5's later releases
            getattr(self.model, "activation_checkpointing_enable", earlier)({"use_reentrant": False})
        self.batch_independent = self.net.batch_independent
        self.eval()

    @property
    def model(self) -> nn.Module:
        """The model of transformers."""
        return self.net.model

    def get_downsample_rates(self, key: str) -> int:
        """Samples per frame."""
        return self.net.rate

    def export(self, folder: Path) -> None:
        """Writes the model as it is now into a folder of Hugging Face's layout."""
        weights = {getattr(self.net, "prefix", "") + name: value for name, value in self.model.state_dict().items()}
        self.model.save_pretrained(folder, state_dict=weights, save_original_format=False)  # the names are right as they are
        for name, content in self.preprocessors.items():
            (folder / name).write_bytes(content)

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        """
        Args:
            wavs: 1-D waveforms of 16 kHz in [-1, 1].

        Returns:
            ``hidden_states``, a tuple of (B, T, D); ``last_hidden_state``; ``lengths`` (B,), the frames of each item alone.
        """
        states, lengths = self.net(check_waves(wavs, self.net.least_samples))
        counts = torch.tensor(lengths, device=states[-1].device)
        return {"hidden_states": tuple(states), "last_hidden_state": states[-1], "lengths": counts}


def _check_kind(model_type: str, only: str | None, name: str) -> None:
    valid = sorted([*CLASSES, *OTHERS])
    if model_type not in valid:
        raise CheckpointError(f"{name} is a model of type {model_type!r}, no speech encoder that is known{did_you_mean(model_type, valid)}")
    if only is not None and only not in valid:
        raise UsageError(f"unknown model type {only!r}{did_you_mean(only, valid)}")
    if only is not None and model_type != only:
        raise CheckpointError(f"{name} is a model of type {model_type!r}, not {only!r}; -u hf takes it")


def _net(model_type: str, source: Source, batch_independent: bool) -> nn.Module:
    folder = source.weights()
    _, settings = read_config(folder)
    preprocessor = read_preprocessor(folder)
    rate = preprocessor.get("sampling_rate", SAMPLE_RATE)
    if rate != SAMPLE_RATE:
        raise CheckpointError(f"{source.name} is made for audio at {rate} Hz; this upstream takes models for {SAMPLE_RATE} Hz")
    if model_type in CLASSES:
        return WaveformNet(model_type, settings, preprocessor, folder, batch_independent)
    return OTHERS[model_type](settings, preprocessor, folder)
