"""Keyword spotting on Speech Commands: which of ten words, another one, or none (SUPERB's KS)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch.utils.data import DataLoader

from downstream.blocks.corpus_task import SOURCE
from downstream.blocks.heads import UtteranceLevel
from downstream.blocks.utterance_classifier import UtteranceClassifier
from utility.training.fields import check_counts, check_fields, check_flags
from utility.training.sampling import balanced_sampler

from .corpus import CLASSES, LABELS, UNKNOWN, Clip, archive_clips, check_classes, development_clips
from .dataset import SpeechCommandsDataset, read_clip
from .model import Model

ROOTS = ("speech_commands_root", "speech_commands_test_root")


class DownstreamExpert(UtteranceClassifier):
    """Projector, pooling and linear classifier over twelve classes; the metric is accuracy.

    Args:
        upstream_dim: width of the features.
        upstream_rate: samples per frame.
        downstream_expert: ``datarc`` and ``modelrc`` as in config.yaml.
        expdir: the experiment folder.
    """

    tag = Path(__file__).resolve().parent.name
    heads: ClassVar = {"UtteranceLevel": UtteranceLevel, "Model": Model}

    def __init__(self, upstream_dim: int, upstream_rate: int, downstream_expert: Mapping[str, Any], expdir: str, **kwargs: Any):
        super().__init__(expdir, **kwargs)
        self.datarc, modelrc = downstream_expert["datarc"], downstream_expert["modelrc"]
        check_fields(self.datarc, {*ROOTS, "num_workers", "batch_size", "balanced_dev"}, ("batch_size",), source=f"{SOURCE}.datarc")
        check_counts(self.datarc, {"batch_size": 1, "num_workers": 0}, source=f"{SOURCE}.datarc")
        check_flags(self.datarc, ("balanced_dev",), source=f"{SOURCE}.datarc")

        self.build(upstream_dim, modelrc, {"word": CLASSES})
        self.read_ahead()

    def read_corpus(self, split: str) -> list[Clip]:
        """The clips of a split.

        Raises:
            ConfigError: the config does not name the corpus.
            DataError: the corpus is missing or is not what it should be.
        """
        (root,) = self.needed(ROOTS[split == "test"])
        if split == "test":
            clips = archive_clips(root)
        else:
            part, exhaustive = {"train": "train", "dev": "valid"}[split], split == "dev" and not self._balanced_dev
            clips = development_clips(root, part, exhaustive)
        check_classes(clips, split, root)
        return clips

    @property
    def _balanced_dev(self) -> bool:
        return self.datarc.get("balanced_dev", True)

    def get_dataloader(self, split: str, epoch: int = 0) -> DataLoader:
        """Batches of ``(wavs, labels, names)``.

        All classes are equally likely in training and, unless ``balanced_dev`` is off, on dev; test goes through all files in order.
        """
        clips = self.corpus_of(split)
        balanced = split == "train" or (split == "dev" and self._balanced_dev)
        batch_size = self.datarc["batch_size"]
        return DataLoader(
            SpeechCommandsDataset(clips),
            batch_size=batch_size,
            sampler=balanced_sampler([clip.label for clip in clips]) if balanced else None,
            drop_last=split == "train" and len(clips) >= batch_size,
            num_workers=self.datarc.get("num_workers", 0),
            collate_fn=SpeechCommandsDataset.collate_fn,
        )

    def load_audio(self, path: str) -> np.ndarray:
        """A user's recording at 16 kHz, as loud as the training data is made."""
        return read_clip(Clip(path, LABELS[UNKNOWN]))
