"""Emotion recognition on IEMOCAP: neutral, happy, angry or sad, by folds with unseen speakers (SUPERB's ER)."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from downstream.blocks.corpus_task import SOURCE
from downstream.blocks.heads import UtteranceLevel
from downstream.blocks.recording_classifier import RecordingClassifier
from downstream.blocks.recordings import Recording
from downstream.blocks.utterance_classifier import Vocabularies
from downstream.interfaces import Score
from utility.errors import ConfigError
from utility.training.fields import check_texts

from .corpus import CLASSES, FIELD, classes_of, list_of, read_list, recordings_of
from .model import DeepModel

log = logging.getLogger(__name__)

# S3PRL's configs also say whether to keep all recordings in memory, which nothing here does.
FIELDS = {"root", "meta_data", "test_fold", "valid_ratio", "pre_load"}


class DownstreamExpert(RecordingClassifier):
    """Projector, pooling and linear classifier over four emotions; the metric is accuracy ("weighted"), with unweighted accuracy beside it.

    Args:
        upstream_dim: width of the features.
        upstream_rate: samples per frame.
        downstream_expert: ``datarc`` and ``modelrc`` as in config.yaml.
        expdir: the experiment folder.
        downstream_variant: the fold, ``"fold1"`` to ``"fold5"``; comes before ``datarc.test_fold``.
        mode: in ``"train"`` the classes come from the fold's list; otherwise a checkpoint brings them.
    """

    heads: ClassVar = {"UtteranceLevel": UtteranceLevel, "DeepModel": DeepModel}

    def __init__(
        self,
        upstream_dim: int,
        upstream_rate: int,
        downstream_expert: Mapping[str, Any],
        expdir: str,
        downstream_variant: str | None = None,
        mode: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(expdir, mode=mode, **kwargs)
        self.take_datarc(downstream_expert["datarc"], FIELDS)
        check_texts(self.datarc, ("meta_data",), source=self.datarc_source)
        self._valid_ratio = _ratio(self.datarc.get("valid_ratio", 0.2))
        self.fold = str(downstream_variant or self.datarc.get("test_fold") or "fold1")
        self.tag = f"{Path(__file__).resolve().parent.name}-{self.fold}"
        self.build(upstream_dim, downstream_expert["modelrc"], self._of_training() if mode == "train" else {"emotion": CLASSES})
        self.read_ahead()

    @cached_property
    def _meta_data(self) -> Path:
        """The folder of the lists: the one that the config names, or, where there is none, that of the preprocessing."""
        (root,) = self.needed("root")
        named, made = self.datarc.get("meta_data"), Path(root, "meta_data")
        if named and (Path(named).is_dir() or not made.is_dir()):
            return Path(named)
        if named:
            log.warning("%s: there is no folder %s; the lists are those in %s", FIELD, named, made)
        return made

    def _of_training(self) -> Vocabularies:
        labels, _ = read_list(list_of(self._meta_data, self.fold, "train"))
        return {"emotion": classes_of(labels)}

    def published_vocabularies(self, outputs: int) -> Vocabularies:
        """The four classes of the official lists, or those of other lists where a checkpoint has more or fewer outputs."""
        return {"emotion": CLASSES} if outputs == len(CLASSES) else self._of_training()

    def read_corpus(self, split: str) -> list[Recording]:
        """The recordings of a split.

        Raises:
            ConfigError: the config does not name the corpus.
            DataError: lists or recordings are missing or are not what they should be.
            UnknownNameError: there are no lists of the fold.
        """
        (root,) = self.needed("root")
        return recordings_of(root, self._meta_data, self.fold, split, self._valid_ratio, self.vocabularies["emotion"])

    def answers_of(self, split: str) -> str:
        """``<split>_<fold>``."""
        return f"{split}_{self.fold}"

    def further_scores(self, records: Mapping[str, list]) -> Mapping[str, Score]:
        """Unweighted accuracy: the average over the classes of how many of each are recognised."""
        right: dict[str, list[bool]] = defaultdict(list)
        for truth, predicted in zip(records["truth"], records["predict"], strict=True):
            right[truth].append(truth == predicted)
        return {"uar": Score(sum(sum(hits) / len(hits) for hits in right.values()) / len(right), higher_is_better=True)}


def _ratio(value: Any) -> float:
    if type(value) not in (int, float) or not 0 < value < 1:
        raise ConfigError(f"valid_ratio must be a number between 0 and 1, not {value!r}", f"{SOURCE}.datarc")
    return float(value)
