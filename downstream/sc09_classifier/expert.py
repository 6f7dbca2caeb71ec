"""Which digit is said: a ResNeXt on Mel spectrograms, and what it says of generated recordings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from downstream.blocks.corpus_task import SOURCE
from downstream.blocks.sc09 import DIGITS, noise_files, sc09_files
from downstream.blocks.utterance_classifier import UtteranceClassifier
from downstream.interfaces import Outcome, RunContext
from utility.audio.io import wavs_in
from utility.errors import ConfigError, UsageError
from utility.training.fields import check_counts, check_fields, check_name, check_options, check_sections, check_texts, keywords_of
from utility.training.sampling import balanced_sampler

from .augmentation import Augmentation, seconds_of
from .dataset import DigitDataset, label_of
from .features import PAD_MODES, LogMel, one_second
from .model import ResNeXt
from .outputs import Cache, classify, digest_of
from .samples import SampleMetrics, SampleOptions

TASK = Path(__file__).resolve().parent.name
SECTIONS = ("datarc", "modelrc", "samples")
DATARC = ("path", "background_noise", "batch_size", "eval_batch_size", "num_workers", "pad_mode")


class DownstreamExpert(UtteranceClassifier):
    """ResNeXt over ten digits; the metric is accuracy.

    Args:
        upstream_dim, upstream_rate: 1 and 1: the task makes its own spectrograms (``-u waveform``).
        downstream_expert: ``datarc``, ``modelrc`` and ``samples`` as in config.yaml.
        expdir: the experiment folder.
        upstream_trainable: refused.

    Attributes:
        model: the network.
        features: makes the spectrograms.
    """

    tag = TASK
    runs = ("samples",)
    task_version = 1
    answers_in_training = False
    evaluation_memory = ("best_score", "least_loss")

    def __init__(
        self,
        upstream_dim: int,
        upstream_rate: int,
        downstream_expert: Mapping[str, Any],
        expdir: str,
        upstream_trainable: bool = False,
        **kwargs: Any,
    ):
        super().__init__(expdir, **kwargs)
        if (upstream_dim, upstream_rate) != (1, 1) or upstream_trainable:
            raise UsageError(f"-d {TASK} makes its spectrograms itself, out of samples: -u waveform, without -f")
        check_sections(downstream_expert, SECTIONS, ("datarc",), source=SOURCE, null=SECTIONS[1:])
        check_fields(downstream_expert, SECTIONS, source=SOURCE)
        self.datarc = downstream_expert["datarc"]
        self._check_datarc()
        self.samples = SampleOptions.of(downstream_expert.get("samples"), f"{SOURCE}.samples")
        self.modelrc, self.vocabularies = downstream_expert.get("modelrc") or {}, {"digit": list(DIGITS)}
        self.features, self.model = LogMel(self.datarc.get("pad_mode", "constant")), self._head()
        self.register_buffer("best_score", torch.zeros(1))
        self.register_buffer("least_loss", torch.full((1,), torch.inf))
        self.read_ahead()

    def _check_datarc(self) -> None:
        source = self.datarc_source
        check_fields(self.datarc, DATARC, ("batch_size",), source=source)
        check_texts(self.datarc, ("path", "background_noise"), source=source)
        check_counts(self.datarc, {"batch_size": 1, "eval_batch_size": 1, "num_workers": 0}, source=source)
        check_name(f"pad_mode in {source}", self.datarc.get("pad_mode", "constant"), PAD_MODES)

    def _head(self) -> ResNeXt:
        source = f"{SOURCE}.modelrc"
        check_fields(self.modelrc, keywords_of(ResNeXt, besides=["nlabels"]), source=source)
        check_options(ResNeXt, self.modelrc, source=source)
        try:
            return ResNeXt(**self.modelrc, nlabels=len(DIGITS))
        except ValueError as error:
            raise ConfigError(str(error), source) from error

    # ---- data

    def read_corpus(self, split: str) -> list[Path]:
        """The recordings of a split.

        Raises:
            ConfigError: the config does not name the corpus.
            DataError: the corpus is missing or is not what it should be.
        """
        (root,) = self.needed("path")
        return sc09_files(root, split, f"{self.datarc_source}.path")

    def get_dataloader(self, split: str, epoch: int = 0) -> DataLoader:
        """Batches of ``(wavs, images, labels, names)``; in training changed at random, with all digits equally likely."""
        files, learns = self.corpus_of(split), split == self.train_split and self.training
        size = self.datarc["batch_size"]
        return DataLoader(
            DigitDataset(files, LogMel(self.features.pad_mode), self._augmentation() if learns else None),
            batch_size=size if learns else self.datarc.get("eval_batch_size", size),
            sampler=balanced_sampler([label_of(path) for path in files]) if learns else None,
            num_workers=self.datarc.get("num_workers", 0),
            collate_fn=DigitDataset.collate_fn,
        )

    def _augmentation(self) -> Augmentation:
        folder, root = self.datarc.get("background_noise"), self.datarc["path"]
        if folder is None:
            return Augmentation(seconds_of(noise_files(root)))
        if not (found := wavs_in(Path(folder))):
            raise ConfigError(f"background_noise: {folder} is no folder with wav files", self.datarc_source)
        return Augmentation(seconds_of(found))

    # ---- training and evaluation

    def logits(self, features: list[Tensor]) -> Tensor:
        """List of (32, 32) -> (B, 10)."""
        return self.model(torch.stack(features))

    def forward(
        self,
        split: str,
        features: list[Tensor],
        images: Tensor,
        labels: list[int],
        names: list[str],
        records: dict[str, list],
        **kwargs: Any,
    ) -> Tensor:
        """Cross entropy of a batch.

        Args:
            features: the waveforms; not used.
            images: (B, 32, 32), see :class:`.features.LogMel`.
            labels: the digits.
            names: of the recordings.
            records: lists to grow.
        """
        return super().forward(split, list(images.to(features[0].device)), labels, names, records, **kwargs)

    def log_records(self, split: str, records: dict[str, list], *args: Any, **kwargs: Any) -> Outcome:
        """As every classifier of recordings; a lower loss on dev gives ``dev-least-loss.ckpt`` beside ``dev-best.ckpt``."""
        outcome = super().log_records(split, records, *args, **kwargs)
        loss = outcome.scores["loss"].value
        if split != "dev" or not loss < self.least_loss.item():
            return outcome
        self.least_loss.fill_(loss)
        return Outcome([*outcome.save_names, "dev-least-loss.ckpt"], scores=outcome.scores)

    def inference(self, features: list[Tensor], names: list[str]) -> list[dict[str, Any]]:
        """The digit said in the first second of each recording and the probabilities of all of them."""
        waves = torch.stack([one_second(feature.flatten()) for feature in features])
        return super().inference(list(self.features.to(waves.device)(waves)), names)

    def run(self, name: str, context: RunContext) -> Outcome:
        """``-t samples``, see :mod:`.samples`."""
        options, workers = self.samples, self.datarc.get("num_workers", 0)
        self.model.to(context.device).eval()
        work = SampleMetrics(
            options,
            Cache(Path(options.cache_dir) if options.cache_dir else self.expdir / "cache"),
            self.corpus_of,
            lambda files, title: classify(self.model, self.features, files, options.batch_size, workers, title),
            lambda files: digest_of(self.model, self.features, files),
        )
        return Outcome(scores=work.run(), variant=options.title)
