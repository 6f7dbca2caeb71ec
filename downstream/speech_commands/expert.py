"""Keyword spotting on Speech Commands: which of ten words, another one, or none (SUPERB's KS)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from downstream.blocks.corpus_task import SOURCE, CorpusTask
from downstream.blocks.heads import UtteranceLevel, build_head
from downstream.blocks.score_log import log_score
from downstream.interfaces import Outcome, Score
from utility.training.fields import check_counts, check_fields, check_flags
from utility.training.sampling import balanced_sampler

from .corpus import CLASSES, LABELS, UNKNOWN, Clip, archive_clips, check_classes, development_clips
from .dataset import SpeechCommandsDataset, read_clip
from .model import Model

TASK = Path(__file__).resolve().parent.name
ROOTS = ("speech_commands_root", "speech_commands_test_root")
HEADS = {"UtteranceLevel": UtteranceLevel, "Model": Model}


class DownstreamExpert(CorpusTask):
    """Projector, pooling and linear classifier over twelve classes; the metric is accuracy.

    Args:
        upstream_dim: width of the features.
        upstream_rate: samples per frame.
        downstream_expert: ``datarc`` and ``modelrc`` as in config.yaml.
        expdir: the experiment folder.
    """

    sample_rate = 16000
    splits = ("train", "dev", "test")

    def __init__(
        self,
        upstream_dim: int,
        upstream_rate: int,
        downstream_expert: Mapping[str, Any],
        expdir: str,
        **kwargs: Any,
    ):
        super().__init__(expdir, **kwargs)
        self.datarc, modelrc = downstream_expert["datarc"], downstream_expert["modelrc"]
        check_fields(self.datarc, {*ROOTS, "num_workers", "batch_size", "balanced_dev"}, ("batch_size",), source=f"{SOURCE}.datarc")
        check_fields(modelrc, {"projector_dim", "select", *HEADS}, ("projector_dim", "select"), source=f"{SOURCE}.modelrc")
        check_counts(self.datarc, {"batch_size": 1, "num_workers": 0}, source=f"{SOURCE}.datarc")
        check_counts(modelrc, {"projector_dim": 1}, source=f"{SOURCE}.modelrc")
        check_flags(self.datarc, ("balanced_dev",), source=f"{SOURCE}.datarc")

        self.projector = nn.Linear(upstream_dim, modelrc["projector_dim"])
        self.model = build_head(modelrc, modelrc["projector_dim"], len(CLASSES), HEADS, source=f"{SOURCE}.modelrc")
        self.register_buffer("best_score", torch.zeros(1))
        self.classes = list(CLASSES)
        self.register_load_state_dict_pre_hook(_accept_without_classes)
        self.read_ahead()

    def get_extra_state(self) -> dict[str, list[str]]:
        """The names of the classes, so that a checkpoint says what its outputs mean."""
        return {"classes": self.classes}

    def set_extra_state(self, state: dict[str, list[str]]) -> None:
        """Takes the names of the classes from a checkpoint."""
        self.classes = list(state["classes"])

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

    def logits(self, features: list[Tensor]) -> Tensor:
        """List of (T_i, D) -> (B, 12)."""
        lengths = torch.tensor([max(1, len(feature)) for feature in features], device=features[0].device)
        return self.model(self.projector(pad_sequence(features, batch_first=True)), lengths)[0]

    def forward(
        self, split: str, features: list[Tensor], labels: list[int], names: list[str], records: dict[str, list], **kwargs: Any
    ) -> Tensor:
        """Cross entropy of a batch; records it, and per item whether it is right, its name, prediction and truth.

        Args:
            features: list of (T_i, D).
            labels: class indices.
            names: ``<folder>-<file>`` of each item.
            records: lists to grow.
        """
        logits = self.logits(features)
        target = torch.as_tensor(labels, device=logits.device)
        loss = F.cross_entropy(logits, target)
        predicted = logits.argmax(dim=-1)
        records["loss"].append(loss.item())
        records["acc"] += (predicted == target).float().tolist()
        records["filename"] += names
        records["predict"] += [self.classes[index] for index in predicted.tolist()]
        records["truth"] += [self.classes[index] for index in target.tolist()]
        return loss

    def log_records(
        self, split: str, records: dict[str, list], logger: Any, global_step: int, batch_ids: list[int], total_batch_num: int, **kwargs: Any
    ) -> Outcome:
        """Logs loss and accuracy, appends to ``log.log``, writes the prediction files; a better dev accuracy gives ``dev-best.ckpt``."""
        means = {name: sum(records[name]) / len(records[name]) for name in ("loss", "acc")}
        for name, value in means.items():
            logger.add_scalar(f"{TASK}/{split}-{name}", value, global_step=global_step)
        accuracy = means["acc"]
        print(f"{split} acc: {accuracy}")

        best = split == "dev" and bool(torch.tensor(accuracy) > self.best_score.cpu())
        if best:
            self.best_score.fill_(accuracy)
        self.results_dir.mkdir(parents=True, exist_ok=True)
        log_score(self.results_dir, split, global_step, accuracy, best)
        self._write_answers(f"{split}_predict.txt", records["filename"], records["predict"])
        self._write_answers(f"{split}_truth.txt", records["filename"], records["truth"])
        scores = {"acc": Score(accuracy, higher_is_better=True), "loss": Score(means["loss"], higher_is_better=False, unit="nats")}
        return Outcome(save_names=["dev-best.ckpt"] if best else [], scores=scores)

    def _write_answers(self, file: str, names: list[str], answers: list[str]) -> None:
        lines = (f"{name} {answer}\n" for name, answer in zip(names, answers, strict=True))
        (self.results_dir / file).write_text("".join(lines))

    def load_audio(self, path: str) -> np.ndarray:
        """A user's recording at 16 kHz, as loud as the training data is made."""
        return read_clip(Clip(path, LABELS[UNKNOWN]))

    def inference(self, features: list[Tensor], names: list[str]) -> list[dict[str, Any]]:
        """The class of each recording and the probabilities of all classes, the likeliest first."""
        answers = []
        for name, probabilities in zip(names, self.logits(features).softmax(dim=-1).tolist(), strict=True):
            ranked = sorted(zip(self.classes, probabilities, strict=True), key=lambda pair: -pair[1])
            answers.append({"file": name, "label": ranked[0][0], "probabilities": dict(ranked)})
        return answers


def _accept_without_classes(module: DownstreamExpert, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """S3PRL's checkpoints do not hold the names of the classes; they are the same twelve."""
    state.setdefault(f"{prefix}_extra_state", {"classes": list(CLASSES)})
