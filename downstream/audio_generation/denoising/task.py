"""DiffWave as a task: the mean squared error of the noise is its loss and its score."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from downstream.blocks.score_log import log_score
from downstream.interfaces import Outcome, RunContext, Score
from utility.errors import ConfigError

from ..expert import TASK, DownstreamExpert
from ..generation.files import Naming, output_folder
from ..models.diffusion import loss
from ..models.diffwave import DiffWave, build_diffwave
from ..settings import SOURCE
from .dataset import WaveDataset, tuples
from .drawing import Drawer
from .settings import DenoisingSettings


class DenoisingExpert(DownstreamExpert):
    """A network that finds the noise in a waveform."""

    def checked(self, downstream_expert: Mapping[str, Any]) -> DenoisingSettings:
        """The sections of the config."""
        return DenoisingSettings.of(downstream_expert)

    def build(self) -> DiffWave:
        """The network that the settings describe."""
        model = build_diffwave(self.settings.model, f"{SOURCE}.modelrc")
        self._check(model)
        return model

    def _check(self, model: DiffWave) -> None:
        settings, hop, faults = self.settings, model.hop, []
        for name, length in (("datarc.sample_len", settings.corpus.sample_len), ("generate.l_sample", settings.generate.l_sample)):
            if length is not None and length % model.pooled:
                faults.append(f"{name} must be a multiple of {model.pooled}, the product of modelrc.pool, not {length}")
        if hop and hop != settings.mel.hop_length:
            faults.append(f"mel.hop_length must be {hop}, the product of modelrc.mel_upsample, not {settings.mel.hop_length}")
        if settings.generate.mel_from is not None and not hop:
            faults.append("generate.mel_from needs a network that hears spectrograms: modelrc.unconditional: false")
        if faults:
            raise ConfigError(faults, SOURCE)

    # ---- data

    def get_dataloader(self, split: str, epoch: int = 0) -> DataLoader:
        """Batches of the waveforms alone."""
        reading, learns = self.settings.reading, self.training and split == self.train_split
        size = reading.batch_size if learns else reading.eval_batch_size or reading.batch_size
        dataset = WaveDataset(self.corpus_of(split), self.sample_rate)
        return DataLoader(dataset, size, shuffle=learns, num_workers=reading.num_workers, collate_fn=tuples)

    # ---- training and evaluation

    def begin_with(self, upstream: nn.Module) -> None:
        """Tunes the kernels of S4 layers to their length, so that no later pass changes a weight by itself."""
        length = self.settings.corpus.sample_len
        with torch.no_grad():
            wavs = self.best_score.new_zeros(1, length)
            self.model(wavs, self.best_score.new_zeros(1), self._heard(wavs))

    def _heard(self, wavs: Tensor) -> Tensor | None:
        return self.settings.mel(wavs) if self.model.hop else None

    def forward(self, split: str, features: list[Tensor], records: dict[str, list], **kwargs: Any) -> Tensor:
        """The mean squared error of a batch of features (samples, 1), with one random step and noise for each waveform.

        Raises:
            DataError: of a spectrogram, the waveforms are too short.
        """
        wavs = self._padded([feature.reshape(-1) for feature in features])
        value = loss(self.judged(), self.settings.noise.trained, wavs, self._heard(wavs))
        records["error"].append(value.item())
        records["items"].append(len(wavs))
        return value

    def _padded(self, wavs: list[Tensor]) -> Tensor:
        """(B, sample_len), zeros behind."""
        made = wavs[0].new_zeros(len(wavs), self.settings.corpus.sample_len)
        for row, wav in zip(made, wavs, strict=True):
            row[: len(wav)] = wav
        return made

    def log_records(
        self, split: str, records: dict[str, list], logger: Any, global_step: int, batch_ids: list[int], total_batch_num: int, **kwargs: Any
    ) -> Outcome:
        """Logs the error; asks for ``dev-best.ckpt`` whenever that of the first split to be evaluated is the smallest so far."""
        weights = records["items"]
        error = math.fsum(e * n for e, n in zip(records["error"], weights, strict=True)) / sum(weights)
        logger.add_scalar(f"{TASK}/{split}-loss", error, global_step=global_step)
        if split == self.train_split:
            return Outcome()
        best = split in self.evaluated[:1] and error < self.best_score.item()
        if best:
            self.best_score.fill_(error)
        log_score(Path(self.results_dir), split, global_step, error, best)
        score = Score(error, False, "mean squared error of the noise")
        return Outcome(["dev-best.ckpt"] if best else [], scores={"loss": score})

    # ---- use

    def run(self, name: str, context: RunContext) -> Mapping[str, Score]:
        """Draws waveforms, or speaks recordings again.

        Raises:
            ConfigError: a vocoder is not told what to speak, or by something that is not there.
        """
        settings, options = self.settings, self.settings.generate
        seed = context.seed if options.seed is None else options.seed
        drawer = Drawer(self.judged(), settings.noise.drawn, options, settings.mel, self.sample_rate, context.device, seed, settings.model)
        with output_folder(options.save_dir, context.results_dir) as folder:
            if self.model.hop:
                paths = drawer.speak(folder, _named(options.mel_from))
            else:
                length = options.l_sample or settings.corpus.sample_len
                paths = drawer.draw(folder, Naming(settings.corpus.name, "diffwave", length / self.sample_rate), length)
        return {"recordings": Score(len(paths), True, "count")}


def _named(mel_from: str | None) -> Path:
    """What a vocoder is to speak."""
    if mel_from is None:
        raise ConfigError("mel_from must name a recording or a folder of them: this network speaks spectrograms", f"{SOURCE}.generate")
    if not (source := Path(mel_from)).exists():
        raise ConfigError(f"mel_from: there is no {source}", f"{SOURCE}.generate")
    return source
