"""Classifiers of whole recordings whose corpus lists one item per recording: which speaker, which emotion, which intent."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch.utils.data import DataLoader

from downstream.blocks.recordings import recording_loader
from downstream.blocks.utterance_classifier import UtteranceClassifier
from utility.training.fields import check_counts, check_fields

SIZES = ("train_batch_size", "eval_batch_size")


class RecordingClassifier(UtteranceClassifier):
    """A task derives from it, takes its ``datarc`` in its constructor, and gives lists of recordings in ``read_corpus``.

    Attributes:
        answers_in_training, single_precision: as S3PRL has them for these tasks.
        longest: samples at 16 kHz; in training, longer recordings are cut to this. None: all come whole.
    """

    answers_in_training = False
    single_precision = True
    longest: int | None = None

    def take_datarc(self, datarc: Mapping[str, Any], fields: Collection[str], counts: Collection[str] = ()) -> None:
        """Sets ``datarc`` after checking what all of these tasks have in it: batch sizes, workers, and the task's own fields.

        Args:
            datarc: as in config.yaml.
            fields: the task's own.
            counts: those of them that are numbers of at least 1.

        Raises:
            ConfigError: a field that there is not, or a value that makes no sense.
        """
        check_fields(datarc, {"num_workers", *SIZES, *fields}, SIZES, source=self.datarc_source)
        check_counts(datarc, {**dict.fromkeys((*SIZES, *counts), 1), "num_workers": 0}, source=self.datarc_source)
        self.datarc = datarc

    def get_dataloader(self, split: str, epoch: int = 0) -> DataLoader:
        """Batches of ``(wavs, labels, names)``. Only the training split is shuffled, and only its recordings are cut."""
        training = split == self.train_split
        size, longest = self.datarc[SIZES[not training]], self.longest if training else None
        return recording_loader(self.corpus_of(split), size, self.datarc.get("num_workers", 0), shuffle=training, longest=longest)
