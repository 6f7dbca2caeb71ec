"""Mockingjay, TERA and Audio ALBERT: Transformers that reconstruct hidden parts of spectrograms (specs/upstreams.md, sections 7, 15.3)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from downstream.blocks.pretraining.corpus import SAMPLES_PER_STEP
from downstream.blocks.pretraining.masking import Masking
from downstream.blocks.pretraining.task import PretrainingTask
from utility.errors import ConfigError
from utility.features.frames import KaldiFrames, SpectralFrames, frames_of
from utility.networks.fields import names_of
from utility.networks.spectrogram_bert import SpectrogramBert, SpectrogramHead, TransformerConfig
from utility.training.fields import check_fields, check_sections

SECTIONS = ("transformer", "audio", "task")


class ReconstructionTask(PretrainingTask):
    """``upstream_config``: ``transformer``, ``audio`` and ``task``, as the published checkpoints hold it.

    Of recordings longer than ``task.sequence_length`` a random stretch is read, and its features are made of it alone.
    """

    def build(self, source: str) -> None:
        check_fields(self.config, SECTIONS, SECTIONS, source=source)
        check_sections(self.config, SECTIONS, source=source)
        transformer, audio, task = (self.config[name] for name in SECTIONS)
        check_fields(transformer, names_of(TransformerConfig), source=f"{source}.transformer")
        check_fields(task, names_of(Masking), source=f"{source}.task")
        self.masking = Masking.of(task, f"{source}.task")
        self.longest = self.masking.sequence_length * SAMPLES_PER_STEP or None
        self.frames = frames_of(audio, f"{source}.audio")
        self.least_samples = self.frames.least_samples
        self.target = _target_of(audio, self.frames, f"{source}.audio")
        if self.masking.mask_frequency and self.target.dim != self.frames.dim:
            raise ConfigError(
                f"mask_frequency needs a target as wide as the input, {self.frames.dim} and not {self.target.dim}", f"{source}.task"
            )
        network = TransformerConfig.of(transformer, f"{source}.transformer")
        if network.input_dim not in (-1, self.frames.dim):
            raise ConfigError(f"input_dim is {network.input_dim}, but the features are {self.frames.dim} wide", f"{source}.transformer")
        self.model, self.head = SpectrogramBert(self.frames.dim, network), SpectrogramHead(self.target.dim, network)

    def checkpoint_entries(self) -> dict[str, Any]:
        """What S3PRL's own checkpoints of these models hold."""
        return {"Transformer": self.model.state_dict(), "SpecHead": self.head.state_dict(), "Upstream_Config": self.config}

    def errors(self, features: list[Tensor], *others: Any) -> tuple[Tensor, Tensor]:
        """Absolute errors of what was hidden."""
        wavs = [feature[:, 0] for feature in features]
        with torch.no_grad(), torch.autocast(wavs[0].device.type, enabled=False):
            frames, lengths = _padded(self.frames, wavs)
            wanted = frames if self.target is self.frames else _padded(self.target, wavs)[0]
            hidden, label = self.masking.apply(frames, lengths)
        if self.target is not self.frames:
            label = label[..., :1].expand_as(wanted)
        rebuilt = self.head(self.model(hidden, lengths)[-1])
        return ((rebuilt.float() - wanted).abs() * label).sum((1, 2)), label.sum((1, 2))


def _padded(frames: KaldiFrames | SpectralFrames, wavs: list[Tensor]) -> tuple[Tensor, Tensor]:
    """(B, T, dim) of each item alone, and (B,)."""
    items, lengths = frames.items(wavs)
    return torch.nn.utils.rnn.pad_sequence(items, batch_first=True), lengths


def _target_of(audio: dict[str, Any], frames: KaldiFrames | SpectralFrames, source: str) -> KaldiFrames | SpectralFrames:
    """What is reconstructed: the input itself, or the feature of the section ``target``."""
    target = audio.get("target")
    if isinstance(frames, KaldiFrames) or target is None or _same_feature(target, audio["input"]):
        return frames
    made = frames_of({**audio, "input": target}, source)
    if made.rate != frames.rate:
        raise ConfigError("the target must have as many frames as the input", source)
    return made


def _same_feature(target: Any, given: Any) -> bool:
    """Whether two features are the same; the channel says which of two waveforms, of which there is one."""
    pair = [{key: value for key, value in dict(one).items() if key != "channel"} for one in (target, given)]
    return pair[0] == pair[1]
