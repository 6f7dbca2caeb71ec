"""A complete task in its smallest form, to try the toolkit with and to copy for a task of your own.

Copy the whole folder to ``downstream/<your task>/`` and it works at once as ``-d <your task>``; then change, in this order,
``dataset.py`` (what an item is), ``model.py``, and below how a batch is scored. The names of the file ``expert.py``, of the class
``DownstreamExpert`` and of its methods are fixed, everything else is yours. Use relative imports for your own files.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from downstream.interfaces import DownstreamBase, Outcome, Score
from utility.training.fields import check_counts, check_fields

from .dataset import CLASS_NAMES, CLASS_NUM, PseudoDataset
from .model import Model

DATA_FIELDS = ("num_workers", "train_batch_size", "eval_batch_size", "sizes")
LEAST = {"num_workers": 0, "train_batch_size": 1, "eval_batch_size": 1}
TASK = Path(__file__).resolve().parent.name  # the name of this folder, so that a copy logs under its own name


class DownstreamExpert(DownstreamBase):
    """Classifies pseudo utterances into 48 classes.

    Args:
        upstream_dim: the width D of the features.
        upstream_rate: samples per feature frame, such as 160.
        downstream_expert: the field of that name in config.yaml; how it looks inside is the task's own business.
        expdir: the experiment folder.
    """

    sample_rate = 16000
    splits = ("train", "dev", "test")
    task_version = 2  # raise it whenever a change can move a number

    def __init__(self, upstream_dim: int, upstream_rate: int, downstream_expert: Mapping[str, Any], expdir: str, **kwargs: Any):
        super().__init__(expdir, **kwargs)
        # A field that does not exist, or is missing, is refused in one sentence before anything is read.
        check_fields(downstream_expert, {"datarc", "modelrc"}, ("datarc", "modelrc"), source="downstream_expert")
        self.datarc, modelrc = downstream_expert["datarc"], downstream_expert["modelrc"]
        check_fields(self.datarc, DATA_FIELDS, DATA_FIELDS, source="downstream_expert.datarc")
        check_fields(modelrc, ("input_dim",), ("input_dim",), source="downstream_expert.modelrc")
        check_fields(self.datarc["sizes"], self.splits, self.splits, source="downstream_expert.datarc.sizes")
        # So is a number that makes no sense.
        check_counts(self.datarc, LEAST, source="downstream_expert.datarc")
        check_counts(self.datarc["sizes"], dict.fromkeys(self.splits, 1), source="downstream_expert.datarc.sizes")
        check_counts(modelrc, {"input_dim": 1}, source="downstream_expert.modelrc")
        self.model = Model(upstream_dim, modelrc["input_dim"], CLASS_NUM)
        # What must survive a resume lives in buffers (or, if it is no tensor, in get_extra_state).
        self.register_buffer("best_score", torch.zeros(1))

    def get_dataloader(self, split: str, epoch: int = 0) -> DataLoader:
        """Batches of ``(wavs, labels)`` of one split; asked for anew in every epoch and evaluation."""
        train = split == "train"
        dataset = PseudoDataset(self.datarc["sizes"][split])
        return DataLoader(
            dataset,
            batch_size=self.datarc["train_batch_size" if train else "eval_batch_size"],
            shuffle=train,
            num_workers=self.datarc["num_workers"],
            collate_fn=dataset.collate_fn,
        )

    def forward(self, split: str, features: list[Tensor], labels: list[int], records: dict[str, list], **kwargs: Any) -> Tensor:
        """The loss of one batch.

        Args:
            features: list of (T_i, D), unpadded, on the device of the model.
            labels: what the data loader gave after the waveforms.
            records: lists that `log_records` gets later; append plain numbers and strings, and keep nothing in ``self``.
        """
        logits = self.model(features)
        target = torch.tensor(labels, device=logits.device)
        loss = F.cross_entropy(logits, target)
        records["loss"].append(loss.item())
        records["acc"] += (logits.argmax(dim=-1) == target).float().tolist()
        return loss

    def log_records(
        self, split: str, records: dict[str, list], logger: Any, global_step: int, batch_ids: list[int], total_batch_num: int, **kwargs: Any
    ) -> Outcome:
        """Logs the means; asks for ``dev-best.ckpt`` whenever the accuracy on dev is the best so far."""
        means = {name: sum(values) / len(values) for name, values in records.items()}
        for name, value in means.items():
            logger.add_scalar(f"{TASK}/{split}-{name}", value, global_step=global_step)
        save_names = []
        if split == "dev" and means["acc"] > self.best_score.item():
            self.best_score.fill_(means["acc"])
            save_names.append("dev-best.ckpt")
        scores = {"acc": Score(means["acc"], higher_is_better=True), "loss": Score(means["loss"], higher_is_better=False, unit="nats")}
        return Outcome(save_names=save_names, scores=scores)

    def inference(self, features: list[Tensor], names: list[str]) -> list[dict[str, Any]]:
        """The class of each recording and the probabilities of the five likeliest."""
        answers = []
        for name, probabilities in zip(names, self.model(features).softmax(dim=-1), strict=True):
            top = {CLASS_NAMES[index]: probabilities[index].item() for index in probabilities.topk(5).indices.tolist()}
            answers.append({"file": name, "label": next(iter(top)), "probabilities": top})
        return answers
