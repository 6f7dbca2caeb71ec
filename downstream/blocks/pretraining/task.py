"""What all pre-training tasks share: their recordings, the loss on dev, and checkpoints that load as upstreams."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from downstream.blocks.corpus_task import SOURCE, CorpusTask
from downstream.blocks.length_buckets import TableRow
from downstream.blocks.pretraining.corpus import WHOLE, Recordings, loader, of_length, recordings_of
from downstream.blocks.score_log import log_score
from downstream.interfaces import Outcome, Score
from utility.errors import DataError, UsageError
from utility.training.fields import check_counts, check_fields, check_lists, check_sections, check_texts

DATA = ("libri_root", "file_path", "train", "dev", "test", "max_timestep", "train_batch_size", "eval_batch_size", "num_workers")


class PretrainingTask(CorpusTask):
    """A network that learns from recordings alone.

    Args:
        upstream_dim, upstream_rate: 1 and 1: the task reads samples (``-u waveform``).
        downstream_expert: ``datarc``, and ``upstream_config`` as S3PRL's checkpoints hold it.
        expdir: the experiment folder.
        mode: what the run does.
        upstream_trainable: refused.

    Attributes:
        config: ``upstream_config``.
        longest: samples of the longest stretch of a recording; None: whole recordings.
        least_samples: that a recording needs for one frame.
    """

    sample_rate = 16000
    splits = ("train", "dev", "test")
    inference_inputs = "none"
    reads_samples = True
    copies = 1
    longest: int | None = None
    least_samples: int = 1

    def __init__(
        self,
        upstream_dim: int,
        upstream_rate: int,
        downstream_expert: Mapping[str, Any],
        expdir: str,
        mode: str | None = None,
        upstream_trainable: bool = False,
        **kwargs: Any,
    ):
        super().__init__(expdir, mode=mode, **kwargs)
        if upstream_trainable:
            raise UsageError(f"{self.name} trains a network of its own, out of what the upstream gives; -f has no place here")
        if self.reads_samples and (upstream_dim, upstream_rate) != (1, 1):
            raise UsageError(f"{self.name} makes its features itself, out of samples: -u waveform")
        check_sections(downstream_expert, ("datarc", "upstream_config"), ("datarc", "upstream_config"), source=SOURCE)
        check_fields(downstream_expert, ("datarc", "upstream_config"), source=SOURCE)
        self.datarc, self.config = downstream_expert["datarc"], downstream_expert["upstream_config"]
        self._check_data()
        self.upstream_dim, self.upstream_rate = upstream_dim, upstream_rate
        self.build(f"{SOURCE}.upstream_config")
        self.register_buffer("best_score", torch.full((1,), torch.inf))
        self.read_ahead()

    @property
    def name(self) -> str:
        """What the task is called."""
        return type(self).__module__.split(".")[-2]

    @abstractmethod
    def build(self, source: str) -> None:
        """Makes the network of :attr:`config`.

        Raises:
            ConfigError: its fields are impossible; ``source`` names the section.
        """

    @abstractmethod
    def errors(self, features: list[Tensor], *others: Any) -> tuple[Tensor, Tensor]:
        """What the network gets wrong in a batch.

        Returns:
            (B,) sums of the errors of each item, and (B,) how many numbers were summed.
        """

    # ---- data

    def _check_data(self) -> None:
        source = self.datarc_source
        check_fields(self.datarc, DATA, ("libri_root",), source=source)
        check_texts(self.datarc, ("libri_root", "file_path"), source=source)
        check_lists(self.datarc, self.splits, source=source)
        check_counts(self.datarc, {"train_batch_size": 1, "eval_batch_size": 1, "num_workers": 0, "max_timestep": -(10**9)}, source=source)

    def read_corpus(self, split: str) -> list[TableRow]:
        """The recordings of a split, the longest first.

        Raises:
            DataError: they are not there, too short for a frame, or in the training as well.
        """
        (root,) = self.needed("libri_root")
        tables = self.datarc.get("file_path")
        sets = self.datarc.get(split) or ([WHOLE] if split == self.train_split and tables is None else None)
        if not sets:
            self.needed(split)
        rows = of_length(recordings_of(root, tables, sets, self.datarc_source), self.datarc.get("max_timestep", 0))
        if not rows:
            raise DataError(f"{self.datarc_source}.max_timestep leaves no recording of {', '.join(sets)}")
        if short := [row.path for row in rows if row.samples < self.least_samples]:
            raise DataError(
                f"{self.datarc_source}: {len(short)} recordings of {split} have less than the {self.least_samples} samples that one frame "
                f"needs, such as {short[0]}; max_timestep: -10 leaves out what is shorter than 0.1 s"
            )
        if split != self.train_split and self.train_split in self._corpora:
            known = {row.path for row in self._corpora[self.train_split]}
            if shared := [row.path for row in rows if row.path in known]:
                raise DataError(f"{self.datarc_source}: {len(shared)} recordings of {split} are trained on, such as {shared[0]}")
        return rows

    def get_dataloader(self, split: str, epoch: int = 0) -> DataLoader:
        """Batches of ``(wavs, names)``, of like length."""
        training = split == self.train_split
        size = self.datarc.get("train_batch_size" if training else "eval_batch_size") or self.datarc.get("train_batch_size", 1)
        dataset = Recordings(self.datarc["libri_root"], self.corpus_of(split), self.longest, self.copies)
        return loader(dataset, size, training and self.training, self.datarc.get("num_workers", 0))

    # ---- training

    def forward(self, split: str, features: list[Tensor], *others: Any, records: dict[str, list], **kwargs: Any) -> Tensor:
        """The mean error of a batch."""
        sums, counts = self.errors(features, *others)
        records["error"] += sums.tolist()
        records["count"] += counts.tolist()
        return sums.sum() / counts.sum().clamp(min=1)

    def log_records(
        self, split: str, records: dict[str, list], logger: Any, global_step: int, batch_ids: list[int], total_batch_num: int, **kwargs: Any
    ) -> Outcome:
        """Logs the mean error; asks for ``<split>-best.ckpt`` whenever that of the first split to be evaluated is the lowest so far."""
        loss = sum(records["error"]) / max(1, sum(records["count"]))
        logger.add_scalar(f"{self.name}/{split}-loss", loss, global_step=global_step)
        best = split in self.evaluated[:1] and loss < self.best_score.item()
        if best:
            self.best_score.fill_(loss)
        if split != self.train_split:
            log_score(Path(self.results_dir), split, global_step, loss, best)
        return Outcome([f"{split}-best.ckpt"] if best else [], scores={"loss": Score(loss, higher_is_better=False, unit=self.unit)})

    unit = "mean absolute error"
