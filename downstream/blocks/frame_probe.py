"""The tasks that probe features for the class of every frame, such as its phone (spec: downstream-content.md 1).

A task derives from :class:`FrameProbe` and says which model it trains.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from downstream.blocks.corpus_task import SOURCE, CorpusTask
from downstream.blocks.frame_labels import FrameLabels, LabelledFrames, class_names, divide, read_list
from downstream.blocks.frames import frames_at, match_length
from downstream.blocks.length_buckets import BatchOrder, TableRow, check_recordings, form_batches, published_batches, read_lengths
from downstream.blocks.score_log import log_probe
from downstream.interfaces import Outcome, Score
from utility.errors import ConfigError, DataError
from utility.training.fields import check_counts, check_fields, check_flags, check_sections, check_texts

log = logging.getLogger(__name__)
IGNORED = -100
DATA_FIELDS = ("libri_root", "phone_path", "bucket_file", "train_batch_size", "eval_batch_size")
OPTIONAL_FIELDS = ("num_workers", "sample_rate", "train_dev_seed", "published_batches")
LEAST = {"train_batch_size": 1, "eval_batch_size": 1, "num_workers": 0, "train_dev_seed": 0}


class FrameProbe(CorpusTask):
    """Classifies every frame; the metric is the accuracy over all frames.

    Args:
        upstream_dim: width of the features.
        upstream_rate: samples per frame; any will do.
        downstream_expert: ``datarc`` and ``modelrc`` as in config.yaml.
        expdir: the experiment folder.

    Attributes:
        class_num, label_rate: number of classes, samples per label.
        tables: the tables of lengths that all splits are taken from.
        log_name: what the lines of ``log.log`` call the task.
        tolerance: seconds that labels may go on behind the end of their recording.
    """

    sample_rate = 16000
    splits = ("train", "dev", "test")
    evaluation_memory = ("best",)
    class_num = 41
    label_rate = 160
    tables = ("train-clean-100",)
    log_name = "libri_phone"
    tolerance = 0.1
    hint = "python3 preprocess/fetch_lists.py --only phone_linear fetches the published labels to data/"

    def __init__(
        self,
        upstream_dim: int,
        upstream_rate: int,
        downstream_expert: Mapping[str, Any],
        expdir: str,
        **kwargs: Any,
    ):
        super().__init__(expdir, **kwargs)
        check_sections(downstream_expert, ("datarc", "modelrc"), ("datarc",), source=SOURCE, null=("modelrc",))
        self.datarc, modelrc = downstream_expert["datarc"], dict(downstream_expert.get("modelrc") or {})
        check_fields(self.datarc, (*DATA_FIELDS, *OPTIONAL_FIELDS), DATA_FIELDS[3:], source=f"{SOURCE}.datarc")
        check_counts(self.datarc, LEAST, source=f"{SOURCE}.datarc")
        check_texts(self.datarc, DATA_FIELDS[:3], source=f"{SOURCE}.datarc")
        check_flags(self.datarc, ("published_batches",), source=f"{SOURCE}.datarc")
        check_flags(modelrc, ("published",), source=f"{SOURCE}.modelrc")
        if self.datarc.get("sample_rate", self.sample_rate) != self.sample_rate:
            raise ConfigError(f"sample_rate must be {self.sample_rate}, not {self.datarc['sample_rate']}", f"{SOURCE}.datarc")
        self.upstream_rate, self.published = upstream_rate, modelrc.pop("published", False)
        modelrc.pop("none", None)
        self.model = self.build_model(upstream_dim, modelrc)
        self.best: dict[str, float] = {}
        self.classes = [str(number) for number in range(self.class_num)]
        self.register_load_state_dict_pre_hook(_accept_without_memory)

        self._labels: FrameLabels | None = None
        self.read_ahead()

    def read_ahead(self) -> None:
        """Reads the corpora that the run will need, and what their classes are called."""
        super().read_ahead()
        if self._labels is not None:
            self.classes = class_names(*self.needed("phone_path"), self.class_num, f"{SOURCE}.datarc.phone_path")

    def build_model(self, upstream_dim: int, modelrc: Mapping[str, Any]) -> nn.Module:
        """The model, called with features (B, T, D) and numbers of true frames (B,), that gives logits (B, T, class_num)."""
        raise NotImplementedError

    def get_extra_state(self) -> dict[str, Any]:
        """The best accuracy of each split so far, and what the classes are called."""
        return {"best": dict(self.best), "classes": list(self.classes)}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Takes both from a checkpoint."""
        self.best, self.classes = dict(state["best"]), list(state["classes"])

    # ---- data

    @property
    def labels(self) -> FrameLabels:
        """The labels of the corpus, read at the first call."""
        if self._labels is None:
            self._labels = FrameLabels(*self.needed("phone_path"), self.class_num, f"{SOURCE}.datarc.phone_path", self.hint)
        return self._labels

    def names_of(self, split: str) -> Collection[str]:
        """The utterances that the lists give to a split: 90 % of the shuffled training list, the rest of it, or the test list.

        Raises:
            DataError: a list is missing or empty.
        """
        folder, field = Path(*self.needed("phone_path")), f"{SOURCE}.datarc.phone_path"
        if split == "test":
            return read_list(folder / "test_split.txt", field, self.hint)
        train, dev = divide(read_list(folder / "train_split.txt", field, self.hint), self.datarc.get("train_dev_seed", 1337))
        return train if split == "train" else dev

    def read_corpus(self, split: str) -> list[list[TableRow]]:
        """The utterances of a split in batches of like length, the longest first.

        Raises:
            ConfigError: the config does not name the corpus.
            DataError: lists, labels, lengths or recordings are missing, or have no utterance in common.
        """
        _, libri_root, bucket_file = self.needed("phone_path", "libri_root", "bucket_file")
        listed = set(self.names_of(split))
        if not Path(libri_root).is_dir():
            raise DataError(f"{SOURCE}.datarc.libri_root: folder {libri_root} does not exist")
        field = f"{SOURCE}.datarc.bucket_file"
        rows = read_lengths(bucket_file, self.tables, libri_root, field)
        names = self._with_labels(split, listed, rows)
        check_recordings([row for row in rows if row.name in names], bucket_file, self.tables, libri_root, field)
        size = self.datarc["train_batch_size" if split == self.train_split else "eval_batch_size"]
        if self.datarc.get("published_batches", False):
            return published_batches(rows, size, lambda row: row.name in names)
        return form_batches([row for row in rows if row.name in names], size)

    def _with_labels(self, split: str, listed: set[str], rows: Sequence[TableRow]) -> set[str]:
        """The listed utterances that have labels and a row; how many have not is said once."""
        measured = {row.name for row in rows}
        names = {name for name in listed if name in measured and name in self.labels}
        if not names:
            raise DataError(
                f"{SOURCE}.datarc: none of the {len(listed)} utterances of the split {split!r}, such as {min(listed)}, "
                "is both in the table of lengths and labelled"
            )
        if len(names) < len(listed):
            without = sum(name not in self.labels for name in listed)
            log.warning(
                "split %s: %d of %d listed utterances are left out: %d have no labels, %d are not in the table of lengths",
                *(split, len(listed) - len(names), len(listed), without, sum(name not in measured for name in listed)),
            )
        return names

    def get_dataloader(self, split: str, epoch: int = 0) -> DataLoader:
        """Batches of ``(wavs, labels)``; labels are int64 tensors of one class per 10 ms."""
        batches = self.corpus_of(split)
        rows = [row for batch in batches for row in batch]
        dataset = LabelledFrames(Path(*self.needed("libri_root")), rows, self.labels, self.label_rate, self.tolerance)
        return DataLoader(
            dataset,
            batch_sampler=BatchOrder([len(batch) for batch in batches], shuffle=split == self.train_split and self.training),
            num_workers=self.datarc.get("num_workers", 0),
            collate_fn=dataset.collate_fn,
        )

    # ---- model

    def logits(self, features: list[Tensor], frames: Sequence[int]) -> Tensor:
        """
        Args:
            features: list of (T_i, D).
            frames: number of labels of each item.

        Returns:
            (B, max(frames), class_num); behind an item's own frames it means nothing.
        """
        device = features[0].device
        if self.published:  # the padded batch as if it were one long utterance each
            matched = match_length(pad_sequence(features, batch_first=True), max(frames))
            return self.model(matched, torch.full((len(features),), max(frames), device=device))
        pairs = zip(features, frames, strict=True)
        matched = [frames_at(feature, wanted, self.upstream_rate, self.label_rate) for feature, wanted in pairs]
        return self.model(pad_sequence(matched, batch_first=True), torch.tensor(frames, device=device))

    def forward(self, split: str, features: list[Tensor], labels: list[Tensor], records: dict[str, list], **kwargs: Any) -> Tensor:
        """Cross entropy averaged over all frames of a batch; records per utterance how many frames it has, and how many are right.

        Args:
            features: list of (T_i, D).
            labels: list of (frames_i,) classes.
            records: lists to grow.
        """
        labels = [torch.as_tensor(label) for label in labels]
        frames = [len(label) for label in labels]
        logits = self.logits(features, frames)
        target = pad_sequence(labels, batch_first=True, padding_value=IGNORED).to(logits.device)
        loss = F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=IGNORED)
        correct = (logits.argmax(dim=-1) == target).sum(dim=1).tolist()
        records["loss"].append(loss.item())
        records["frames"] += frames
        records["correct"] += correct
        records["sample_wise_metric"] += [right / of for right, of in zip(correct, frames, strict=True)]
        return loss

    def log_records(
        self, split: str, records: dict[str, list], logger: Any, global_step: int, batch_ids: list[int], total_batch_num: int, **kwargs: Any
    ) -> Outcome:
        """Logs the accuracy over all frames, appends to ``log.log``; a better one than ever gives ``best-states-<split>.ckpt``."""
        accuracy = float(np.float32(sum(records["correct"]) / sum(records["frames"])))
        loss = sum(records["loss"]) / len(records["loss"])
        logger.add_scalar(f"{self.log_name}/{split}-acc", accuracy, global_step=global_step)
        logger.add_scalar(f"{self.log_name}/{split}-loss", loss, global_step=global_step)
        best = accuracy > self.best.get(split, 0.0)
        if best:
            self.best[split] = accuracy
        self.results_dir.mkdir(parents=True, exist_ok=True)
        print(f"{log_probe(self.results_dir, self.log_name, split, global_step, accuracy, best)}\n")
        scores = {"acc": Score(accuracy, higher_is_better=True), "loss": Score(loss, higher_is_better=False, unit="nats")}
        return Outcome(save_names=[f"best-states-{split}.ckpt"] if best else [], scores=scores)

    def inference(self, features: list[Tensor], names: list[str]) -> list[dict[str, Any]]:
        """What is heard in each recording: runs of equal classes with their times in seconds, and how sure the model is on average."""
        frames = [max(1, round(len(feature) * self.upstream_rate / self.label_rate)) for feature in features]
        answers = []
        for name, logits, own in zip(names, self.logits(features, frames), frames, strict=True):
            sure, predicted = logits[:own].softmax(dim=-1).max(dim=-1)
            answers.append({"file": name, "segments": self._segments(predicted.tolist(), sure.tolist())})
        return answers

    def _segments(self, predicted: list[int], sure: list[float]) -> list[dict[str, Any]]:
        seconds, segments, start = self.label_rate / self.sample_rate, [], 0
        for label, run in groupby(predicted):
            end = start + len(list(run))
            mean = sum(sure[start:end]) / (end - start)
            times = {"start": round(start * seconds, 6), "end": round(end * seconds, 6)}
            segments.append({**times, "label": self.classes[label], "probability": mean})
            start = end
        return segments


def _accept_without_memory(module: FrameProbe, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """S3PRL's checkpoints hold neither best scores nor names."""
    state.setdefault(f"{prefix}_extra_state", module.get_extra_state())
