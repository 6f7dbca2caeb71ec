"""The upstreams of convolution + Transformer models: waveforms to hidden states, as S3PRL's wrappers give them or independent of the batch.

A plugin folder derives its ``UpstreamExpert`` from :class:`TransformerExpert` and says which model it is and which padding mask it uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upstream.blocks.checkpoint_family import Family, check_family
from upstream.blocks.fairseq_files import FairseqModel, read_fairseq
from upstream.interfaces import UpstreamBase
from utility.errors import UnknownNameError, UsageError
from utility.features.waves import check_waves
from utility.networks.conv_layers import least_samples
from utility.networks.transformer_body import Kind, load_model
from utility.networks.transformer_config import TransformerSettings
from utility.networks.transformer_encoder import outputs_of
from utility.networks.transformer_net import ConvTransformer, Masking, independent_run, padded_run
from utility.networks.weights import local_path, read_checkpoint

SELECTIONS = ("hidden_states", "fairseq_layers", "fairseq_layers_before_residual")


class TransformerExpert(UpstreamBase):
    """Base of the upstreams of this family.

    Args:
        ckpt: path or URL of a checkpoint in any of the layouts of :mod:`upstream.blocks.fairseq_files`.
        model_config: must be left out; the checkpoint holds the settings.
        refresh: download a URL again.
        batch_independent: padding changes nothing (off: S3PRL's behaviour).
        feature_grad_mult: scale of the gradient that reaches the convolutions; 0 (S3PRL's wrappers) freezes them.
        gradient_checkpointing: less memory for more time in fine-tuning.
        feature_selection: ``"hidden_states"``: layers + 1 states, the input of each layer and the encoder's output; ``"fairseq_layers"``:
            the output of each layer without the final layer norm; ``"fairseq_layers_before_residual"``: the output of each feed-forward.

    Raises:
        CheckpointError: the file is no checkpoint of such a model, or of another member of the family.
        UsageError: an impossible option.
    """

    family: Family | None = None
    """Which checkpoints may be read; None: any of the family."""
    kind: Kind = "wav2vec2"
    masking: Masking = "convolutions"

    def __init__(
        self,
        ckpt: str,
        model_config: str | None = None,
        refresh: bool = False,
        batch_independent: bool = False,
        feature_grad_mult: float = 0.0,
        gradient_checkpointing: bool = False,
        feature_selection: str = "hidden_states",
    ):
        super().__init__()
        refuse_config(model_config)
        path = local_path(ckpt, refresh)
        file = read_fairseq(read_checkpoint(path), path)
        if self.family is not None:
            check_family(file, self.family, path)
        settings = TransformerSettings.of(net_settings(file), path)
        _check_selection(feature_selection, settings)
        model = load_model(settings, self.kind, file.weights, path)
        self.net = ConvTransformer(model, settings, self.masking, feature_grad_mult, gradient_checkpointing)
        self.normalize = bool(file.task.get("normalize", False))
        self.batch_independent, self.feature_selection = batch_independent, feature_selection
        self.least_samples = least_samples(settings.conv_feature_layers)
        self.rate = samples_per_frame(settings)
        self.eval()

    @property
    def model(self) -> nn.Module:
        """The Hugging Face model."""
        return self.net.model

    def get_downsample_rates(self, key: str) -> int:
        """Samples per frame."""
        return self.rate

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        """
        Args:
            wavs: 1-D waveforms of 16 kHz in [-1, 1].

        Returns:
            ``hidden_states``, a tuple of (B, T, D); ``last_hidden_state``; ``hidden_state_0`` ...; ``_hidden_states_info``, where each
            comes from; ``lengths`` (B,), the frames of each item alone.
        """
        wavs = check_waves(wavs, self.least_samples)
        if self.normalize:
            wavs = [F.layer_norm(wav, wav.shape) for wav in wavs]
        run = independent_run if self.batch_independent else padded_run
        states = run(self.net, wavs, self._selected)
        lengths = torch.tensor([self.net.frames(len(wav)) for wav in wavs], device=states[0].device)
        return {**numbered(states, self._names(len(states))), "lengths": lengths}

    def _selected(self, x: Tensor, valid: Tensor | None) -> list[Tensor]:
        if self.feature_selection == "fairseq_layers_before_residual":
            with outputs_of([layer.feed_forward.output_dense for layer in self.model.encoder.layers]) as outputs:
                self.net.encoded(x, valid)
            return outputs
        states = self.net.encoded(x, valid)
        return states[1:] if self.feature_selection == "fairseq_layers" else self.net.normed(states)

    def _names(self, states: int) -> tuple[str, ...]:
        if self.feature_selection == "hidden_states":
            return (*(f"self.model.encoder.layers[{i}]" for i in range(states - 1)), "self.model.encoder")
        return tuple(f"{self.feature_selection}[{i}]" for i in range(states))


def refuse_config(model_config: str | None) -> None:
    """Raises UsageError if a config is given where the checkpoint holds all settings."""
    if model_config is not None:
        raise UsageError(f"this upstream takes no config (-g {model_config}): its checkpoint holds the settings")


def net_settings(file: FairseqModel) -> dict[str, Any]:
    """The settings of the net; a fine-tuned model nests those of its pre-trained one under ``w2v_args``."""
    nested = file.model.get("w2v_args")
    if not isinstance(nested, dict):
        return file.model
    inner = nested.get("model", nested)
    return inner if isinstance(inner, dict) else file.model


def samples_per_frame(settings: TransformerSettings) -> int:
    """The product of the strides of the convolutions."""
    rate = 1
    for _, _, stride in settings.conv_feature_layers:
        rate *= stride
    return rate


def numbered(states: Sequence[Tensor], names: Sequence[str]) -> dict[str, Any]:
    """The keys of an upstream whose states S3PRL collects with hooks."""
    keys = {f"hidden_state_{i}": state for i, state in enumerate(states)}
    return {"hidden_states": tuple(states), "last_hidden_state": states[-1], "_hidden_states_info": tuple(names), **keys}


def _check_selection(selection: str, settings: TransformerSettings) -> None:
    if selection not in SELECTIONS:
        raise UnknownNameError("feature_selection", selection, SELECTIONS)
    if settings.conformer and selection != "hidden_states":
        raise UsageError(f"feature_selection {selection!r} does not exist for conformer models; use 'hidden_states'")
