"""Mockingjay, TERA and Audio ALBERT: Transformer encoders over spectrogram frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from upstream.interfaces import UpstreamBase
from utility.errors import CheckpointError, ConfigError
from utility.features.frames import frames_of
from utility.networks.fields import nested
from utility.networks.spectrogram_bert import SpectrogramBert, TransformerConfig, valid_frames
from utility.networks.weights import fitted, local_path, read_checkpoint, renamed

from .options import ExtractionOptions

RULES = [
    (r"encoder\.layer\.\d+\.(attention\.)?LayerNorm\..*", None),  # second names of the norms in output.LayerNorm
    (r"(.*LayerNorm.*)\.gamma", r"\1.weight"),
    (r"(.*LayerNorm.*)\.beta", r"\1.bias"),
]


class UpstreamExpert(UpstreamBase):
    """States: the input representation and each layer's output, (B, T, hidden_size).

    Args:
        ckpt: path or URL of a checkpoint with ``Transformer`` and its config.
        model_config: yaml of S3PRL's extraction options, see README.
        refresh: download again.
        batch_independent: features and chunks of each item as if it were alone; off, those of the padded batch, as published.

    Raises:
        CheckpointError: the file is none of this model. ConfigError: its config or the options are impossible.
    """

    def __init__(self, ckpt: str | Path, model_config: str | Path | None = None, refresh: bool = False, batch_independent: bool = False):
        super().__init__()
        self.batch_independent = batch_independent
        self.options = ExtractionOptions.read(model_config)
        path = local_path(ckpt, refresh)
        content = read_checkpoint(path)
        config = _config(content, path)
        self.features = frames_of(nested(config, path, "audio"), f"{path} audio")
        self.longest = _sequence_length(config, path)
        self.model = self._loaded(self._network(config, path), content, path)

    def _network(self, config: Mapping[str, Any], path: Path) -> TransformerConfig:
        network = TransformerConfig.of(nested(config, path, "transformer"), f"{path} transformer")
        if network.input_dim not in (-1, self.features.dim):
            raise ConfigError(f"input_dim is {network.input_dim}, but the features are {self.features.dim} wide", f"{path} transformer")
        rate = self.options.dropout
        return network if rate is None else replace(network, hidden_dropout_prob=rate, attention_probs_dropout_prob=rate)

    def _loaded(self, network: TransformerConfig, content: Mapping[str, Any], path: Path) -> SpectrogramBert:
        """The net with the checkpoint's weights, or with random ones."""

        def make() -> SpectrogramBert:
            return SpectrogramBert(self.features.dim, network)

        if not self.options.load_pretrain:
            return make()
        return fitted(make, renamed(nested(content, path, "Transformer"), RULES), path)

    def get_downsample_rates(self, key: str) -> int:
        """Samples per frame."""
        return self.features.rate

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        """``hidden_states``, ``last_hidden_state`` (B, T, hidden_size); ``lengths`` (B,)."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.options.no_grad):
            states, lengths = self._each_alone(wavs) if self.batch_independent else self._together(wavs)
        return {"last_hidden_state": states[-1], "hidden_states": tuple(states), "lengths": lengths}

    def _together(self, wavs: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        """The padded batch, cut into equal pieces if it is too long."""
        frames, lengths = self.features.batch(wavs)
        pieces = [self.model(piece, valid_frames(piece)) for piece in frames.chunk(self._pieces(frames.size(1)), dim=1)]
        return [torch.cat(states, dim=1) for states in zip(*pieces, strict=True)], lengths

    def _each_alone(self, wavs: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        """The pieces of all items as one batch, each attending to its own frames."""
        items, lengths = self.features.items(wavs)
        cut = [item.chunk(self._pieces(len(item))) for item in items]
        pieces = [piece for of_item in cut for piece in of_item]
        frames, inside = pad_sequence(pieces, batch_first=True), torch.tensor([len(piece) for piece in pieces], device=lengths.device)
        states = self.model(frames, valid_frames(frames), inside)
        return [_joined(state, cut) for state in states], lengths

    def _pieces(self, frames: int) -> int:
        """Into how many pieces so many frames are cut."""
        return -(-frames // self.longest) if self.longest else 1


def _joined(state: Tensor, cut: list[tuple[Tensor, ...]]) -> Tensor:
    """(pieces, T, H) of the pieces of items -> (B, T, H) of the items."""
    own = iter(state)
    return pad_sequence([torch.cat([next(own)[: len(piece)] for piece in of_item]) for of_item in cut], batch_first=True)


def _config(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The model's config: ``Config`` in files of the first year, whose runner config is ``Runner``, else ``Upstream_Config``."""
    old = content.get("Config")
    return dict(old) if isinstance(old, Mapping) and "transformer" in old else nested(content, path, "Upstream_Config")


def _sequence_length(config: Mapping[str, Any], path: Path) -> int:
    """Frames of the longest piece; 0: no limit."""
    task = config.get("task")
    value = task.get("sequence_length", 0) if isinstance(task, Mapping) else 0
    if type(value) is not int or value < 0:
        raise CheckpointError(f"{path} task.sequence_length must be 0 or a number of frames, not {value!r}")
    return value
