"""APC and NPC: networks on log Mel frames that predict frames they do not see (specs/upstreams.md, sections 8, 9, 15.4, 15.5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from downstream.blocks.pretraining.task import PretrainingTask
from utility.features.deltas_cmvn import frame_mask
from utility.features.hamming_fbank import hamming_fbank
from utility.networks.apc import Apc, ApcConfig
from utility.networks.fields import names_of
from utility.networks.npc import Npc, NpcConfig
from utility.training.fields import check_counts, check_fields, check_sections

SEQUENCE_LENGTH = 1500
N_FUTURE = 5


class FrameModelTask(PretrainingTask):
    """``upstream_config``: ``data.audio``, ``model.paras`` and ``task``, as the published checkpoints of APC and NPC hold it."""

    task_fields: Mapping[str, int] = {"sequence_length": 0}
    settings: type[ApcConfig] | type[NpcConfig]
    network: type[Apc] | type[Npc]

    def build(self, source: str) -> None:
        check_fields(self.config, ("data", "model", "task"), ("data", "model"), source=source)
        check_sections(self.config, ("data", "model", "task"), source=source)
        for section, inner in (("data", "audio"), ("model", "paras")):
            check_fields(self.config[section], (inner,), (inner,), source=f"{source}.{section}")
            check_sections(self.config[section], (inner,), source=f"{source}.{section}")
        self.task = dict(self.config.get("task") or {})
        check_fields(self.task, self.task_fields, source=f"{source}.task")
        check_counts(self.task, self.task_fields, source=f"{source}.task")
        self.frames = hamming_fbank(self.config["data"]["audio"], f"{source}.data.audio")
        self.least_samples = self.frames.options.least_samples
        paras, place = self.config["model"]["paras"], f"{source}.model.paras"
        check_fields(paras, names_of(self.settings), source=place)
        self.model = self.network(self.frames.dim, self.settings.of(paras, place))

    def checkpoint_entries(self) -> dict[str, Any]:
        """What S3PRL's own checkpoints of these models hold."""
        return {"config": self.config, "model": self.model.state_dict(), "Upstream_Config": self.config}

    def stretches(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Frames (B, T, D) and lengths (B,): of longer recordings a random stretch of ``task.sequence_length`` frames.

        The stretch is taken of the normalised frames of the whole recording.
        """
        with torch.no_grad():
            frames, lengths = self.frames([feature[:, 0] for feature in features])
        longest = self.task.get("sequence_length", SEQUENCE_LENGTH)
        if not longest or frames.size(1) <= longest:
            return frames, lengths
        starts = [int(torch.randint(max(0, length - longest) + 1, (1,))) for length in lengths.tolist()]
        return torch.stack([item[start : start + longest] for item, start in zip(frames, starts, strict=True)]), lengths.clamp(max=longest)


class ApcTask(FrameModelTask):
    """Predicts each frame from those up to ``task.n_future`` frames before it."""

    task_fields: Mapping[str, int] = {"sequence_length": 0, "n_future": 1}
    settings, network = ApcConfig, Apc

    def errors(self, features: list[Tensor], *others: Any) -> tuple[Tensor, Tensor]:
        """Absolute errors of the frames that have one so far before them."""
        frames, lengths = self.stretches(features)
        ahead = self.task.get("n_future", N_FUTURE)
        frames = F.pad(frames, (0, 0, 0, max(0, ahead + 1 - frames.size(1))))  # also where no recording of the batch is so long
        left = (lengths - ahead).clamp(min=0)
        predicted, _ = self.model(frames[:, :-ahead], left)
        return absolute_errors(predicted, frames[:, ahead:], left)


class NpcTask(FrameModelTask):
    """Reconstructs each frame from those around it."""

    settings, network = NpcConfig, Npc

    def errors(self, features: list[Tensor], *others: Any) -> tuple[Tensor, Tensor]:
        """Absolute errors of all frames."""
        frames, lengths = self.stretches(features)
        rebuilt, _ = self.model(frames, lengths)
        return absolute_errors(rebuilt, frames, lengths)


def absolute_errors(ours: Tensor, wanted: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Sums (B,) of the absolute differences of (B, T, D) within the lengths, and how many numbers these are (B,)."""
    own = frame_mask(lengths, ours.size(1))
    return ((ours.float() - wanted).abs().sum(-1) * own).sum(-1), own.sum(-1) * ours.size(-1)
