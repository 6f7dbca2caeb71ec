"""DistilHuBERT (2110.01900): a student of two layers that predicts layers of HuBERT."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from upstream.blocks.transformer_family import refuse_config, samples_per_frame
from upstream.interfaces import UpstreamBase
from utility.features.waves import check_waves
from utility.networks.conv_layers import least_samples
from utility.networks.fields import nested
from utility.networks.prediction_heads import distiller_config, prediction_heads
from utility.networks.transformer_body import load_model
from utility.networks.transformer_config import TransformerSettings
from utility.networks.transformer_masks import without_padding
from utility.networks.transformer_net import ConvTransformer, independent_run, padded_run
from utility.networks.weights import fitted, local_path, read_checkpoint, section

HEAD = "output_layer."


class UpstreamExpert(UpstreamBase):
    """Projected features, the outputs of the layers and the predictions as hidden states.

    Args:
        ckpt: path or URL of a checkpoint of S3PRL's Distiller.
        model_config: must be left out; the checkpoint holds the settings.
        refresh: download a URL again.
        batch_independent: padding changes nothing (off: S3PRL's behaviour).
        feature_grad_mult: scale of the gradient that reaches the convolutions; the checkpoint's by default, 0 freezes them.
        gradient_checkpointing: less memory for more time in fine-tuning.

    Raises:
        CheckpointError: the file is no checkpoint of a Distiller.
    """

    def __init__(
        self,
        ckpt: str,
        model_config: str | None = None,
        refresh: bool = False,
        batch_independent: bool = False,
        feature_grad_mult: float | None = None,
        gradient_checkpointing: bool = False,
    ):
        super().__init__()
        refuse_config(model_config)
        path = local_path(ckpt, refresh)
        content = read_checkpoint(path)
        weights = nested({"Distiller": section(content, path, "Distiller")}, path, "Distiller")
        config = distiller_config(section(content, path, "Upstream_Config", "Config"), path)
        settings = TransformerSettings.of({**config, "conv_feature_layers": config.get("extractor_conv_feature_layers")}, path)
        mult = float(config.get("feature_grad_mult", 1.0)) if feature_grad_mult is None else feature_grad_mult
        model = load_model(settings, "hubert", weights, path, projection_norm=False)
        self.net = ConvTransformer(model, settings, "convolutions", mult, gradient_checkpointing)
        heads = {name.removeprefix(HEAD): weight for name, weight in weights.items() if name.startswith(HEAD)}
        self.output_layer = fitted(lambda: prediction_heads(config, settings.encoder_embed_dim, path), heads, path)
        self.batch_independent = batch_independent
        self.least_samples, self.rate = least_samples(settings.conv_feature_layers), samples_per_frame(settings)
        self.eval()

    def get_downsample_rates(self, key: str) -> int:
        """Samples per frame."""
        return self.rate

    def forward(self, wavs: list[Tensor], no_pred: bool = False) -> dict[str, Any]:
        """
        Args:
            wavs: 1-D waveforms of 16 kHz in [-1, 1].
            no_pred: leave the predictions out; ``last_hidden_state`` is None then, as in S3PRL.

        Returns:
            ``hidden_states``, a list of (B, T, D): projected features (zeros at padded frames), each layer's output, each prediction;
            ``last_hidden_state``, the last prediction; ``paper``, the last layer's output; ``pad_mask``, (B, T) with 1.0 at valid frames;
            ``lengths`` (B,), the frames of each item alone.
        """
        wavs = check_waves(wavs, self.least_samples)
        run = independent_run if self.batch_independent else padded_run
        states = run(self.net, wavs, self._without_predictions if no_pred else self._with_predictions)
        own = torch.tensor([self.net.frames(len(wav)) for wav in wavs], device=states[0].device)
        valid = torch.arange(states[0].size(1), device=own.device) < own[:, None]
        return {
            "last_hidden_state": None if no_pred else states[-1],
            "hidden_states": states,
            "pad_mask": valid.to(states[0].dtype),
            "paper": states[len(self.net.model.encoder.layers)],
            "lengths": own,
        }

    def _without_predictions(self, x: Tensor, valid: Tensor | None) -> list[Tensor]:
        return [without_padding(x, valid), *self.net.encoded(x, valid)[1:]]

    def _with_predictions(self, x: Tensor, valid: Tensor | None) -> list[Tensor]:
        layers = self.net.encoded(x, valid)[1:]
        predictions = self.output_layer(self.net.normed(layers)[-1]).unbind(dim=2)
        return [without_padding(x, valid), *layers, *predictions]
