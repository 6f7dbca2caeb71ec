"""Pre-training of DistilHuBERT (2110.01900): a student of few layers learns to predict layers of the upstream, its teacher."""

from __future__ import annotations

import logging
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from downstream.blocks.pretraining.task import PretrainingTask
from utility.errors import CheckpointError, ConfigError
from utility.networks.conv_layers import least_samples
from utility.networks.prediction_heads import distiller_config, prediction_heads
from utility.networks.transformer_body import build_body
from utility.networks.transformer_config import TransformerSettings
from utility.networks.transformer_net import ConvTransformer, padded_run
from utility.networks.transformer_weights import fairseq_weights
from utility.training.fields import check_counts, check_fields, check_flags, check_sections

log = logging.getLogger(__name__)
SEQUENCE_LENGTH = 250_000
TAKEN = {
    "init_teacher_conv_layers": ("feature_extractor.", "feature_projection.projection."),
    "init_teacher_encoder_layers": ("encoder.",),
}
FIELDS = (
    *("extractor_mode", "extractor_conv_feature_layers", "feature_grad_mult", "conv_pos", "conv_pos_groups", "encoder_layers"),
    *("encoder_embed_dim", "encoder_ffn_embed_dim", "encoder_attention_heads", "activation_fn", "layer_norm_first", "attention_type"),
    *("dropout", "attention_dropout", "activation_dropout", "final_dim", "out_layer_type", "out_layer_inter_dim", "n_tasks"),
    *("task_emb_type", "loss_type", "cosine_loss", "pred_layer_id", *TAKEN),
)


class DownstreamExpert(PretrainingTask):
    """The teacher is the upstream, frozen; ``upstream_config`` has ``distiller`` and ``task``, as S3PRL's checkpoints hold it.

    specs/upstreams.md, sections 11.8 and 15.6. The loss of a frame and a layer: the mean absolute difference, and ``cosine_loss`` times
    the negative log sigmoid of the cosine.
    """

    reads_samples = False
    copies = 2
    unit = "L1 + cosine loss"

    def build(self, source: str) -> None:
        check_fields(self.config, ("distiller", "task"), ("distiller",), source=source)
        check_sections(self.config, ("distiller", "task"), source=source)
        self.settings, task, place = dict(self.config["distiller"]), dict(self.config.get("task") or {}), f"{source}.distiller"
        check_fields(self.settings, FIELDS, ("n_tasks", "pred_layer_id"), source=place)
        check_flags(self.settings, tuple(TAKEN), source=place)
        check_fields(task, ("sequence_length",), source=f"{source}.task")
        check_counts(task, {"sequence_length": 0}, source=f"{source}.task")
        self.longest = task.get("sequence_length", SEQUENCE_LENGTH) or None
        self._check_loss(place)
        self.feature_layers = tuple(self.settings["pred_layer_id"])
        self.net, self.output_layer = self._student(place)

    def _check_loss(self, place: str) -> None:
        layers, cosine = self.settings["pred_layer_id"], self.settings.get("cosine_loss", 1.0)
        faults = []
        if not isinstance(layers, list | tuple) or not layers or any(type(layer) is not int or layer < 0 for layer in layers):
            faults.append(f"pred_layer_id must be a list of layers of the teacher, not {layers!r}")
        elif self.settings["n_tasks"] != len(layers):
            faults.append(f"n_tasks is {self.settings['n_tasks']!r}, but pred_layer_id has {len(layers)} layers")
        if isinstance(cosine, bool) or not isinstance(cosine, int | float) or cosine < 0:
            faults.append(f"cosine_loss must be a number of at least 0, not {cosine!r}")
        if self.settings.get("loss_type", "l1") != "l1":
            faults.append(f"loss_type must be l1, not {self.settings['loss_type']!r}")
        if self.settings.get("final_dim", self.upstream_dim) != self.upstream_dim:
            faults.append(f"final_dim is {self.settings['final_dim']!r}, but the states of the teacher are {self.upstream_dim} wide")
        if faults:
            raise ConfigError(faults, place)

    def _student(self, place: str) -> tuple[ConvTransformer, nn.Module]:
        try:
            config = distiller_config({"distiller": self.settings}, place)
            settings = TransformerSettings.of({**config, "conv_feature_layers": config.get("extractor_conv_feature_layers")}, place)
            heads = prediction_heads({"final_dim": self.upstream_dim, **config}, settings.encoder_embed_dim, place)
        except CheckpointError as error:
            raise ConfigError(str(error).removeprefix(f"{place} "), place) from error
        for weight in heads.parameters():  # those that are side by side begin with zeros, which would stay equal
            if weight.dim() == 3:
                nn.init.normal_(weight, 0.0, weight.size(1) ** -0.5)
        rate = math.prod(stride for _, _, stride in settings.conv_feature_layers)
        if self.upstream_rate != rate:
            raise ConfigError(f"the student has frames of {rate} samples, but those of the teacher have {self.upstream_rate}", place)
        self.least_samples = least_samples(settings.conv_feature_layers)
        mult = float(config.get("feature_grad_mult", 0.1))
        return ConvTransformer(build_body(settings, "hubert", projection_norm=False), settings, "convolutions", mult), heads

    def begin_with(self, upstream: nn.Module) -> None:
        """Takes the teacher's convolutions, projection and first layers, where it has such, of the same shapes."""
        teacher = getattr(getattr(upstream, "net", upstream), "model", None)
        theirs = teacher.state_dict() if isinstance(teacher, nn.Module) else {}
        own = self.net.model.state_dict()
        wanted = tuple(prefix for flag, prefixes in TAKEN.items() if self.settings.get(flag, True) for prefix in prefixes)
        taken = {n: theirs[n] for n, value in own.items() if n.startswith(wanted) and n in theirs and theirs[n].shape == value.shape}
        self.net.model.load_state_dict(taken, strict=False)
        if wanted:
            log.info("%d of the %d weights of the student are the teacher's at first", len(taken), len(own))

    def checkpoint_entries(self) -> dict[str, Any]:
        """What S3PRL's own checkpoints of such students hold; the config lies under ``Upstream_Config``, as ``Config`` is the run's."""
        heads = {f"output_layer.{name}": value for name, value in self.output_layer.state_dict().items()}
        return {"Distiller": {**fairseq_weights(self.net.model.state_dict()), **heads}, "Upstream_Config": self.config}

    def errors(self, features: list[Tensor], *others: Any) -> tuple[Tensor, Tensor]:
        """Losses of all frames and layers that teacher and student both have."""
        wavs = [wav.to(features[0].device) for wav in others[0]]
        (predicted,) = padded_run(self.net, wavs, self._predicted)
        lengths = [min(len(feature), self.net.frames(len(wav))) for feature, wav in zip(features, wavs, strict=True)]
        losses = [
            self._losses(ours[:frames].float(), theirs[:frames].unflatten(-1, (len(self.feature_layers), -1)).float()).sum()
            for ours, theirs, frames in zip(predicted, features, lengths, strict=True)
        ]
        return torch.stack(losses), torch.tensor(lengths, device=predicted.device) * len(self.feature_layers)

    def _predicted(self, x: Tensor, valid: Tensor | None) -> list[Tensor]:
        return [self.output_layer(self.net.normed(self.net.encoded(x, valid))[-1])]

    def _losses(self, ours: Tensor, theirs: Tensor) -> Tensor:
        """(T, layers) of two (T, layers, D)."""
        cosine = F.logsigmoid(F.cosine_similarity(ours, theirs, dim=-1))
        return (ours - theirs).abs().mean(-1) - self.settings.get("cosine_loss", 1.0) * cosine
