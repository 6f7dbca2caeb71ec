"""A task on DownstreamBase whose evaluation may be dealt to several processes; its score depends on the order of the records."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from downstream.interfaces import DownstreamBase, Outcome, Score

CLASSES = 3


class Items(Dataset):
    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        wav = torch.randn(160 + 16 * int(torch.randint(8, (1,))))
        wav += 3 * (index % CLASSES - 1)
        return wav, index % CLASSES, index


def collate(items):
    wavs, labels, indices = zip(*items, strict=True)
    return list(wavs), torch.tensor(labels), list(indices)


class DownstreamExpert(DownstreamBase):
    splits = ("train", "dev", "test", "one")
    evaluation_memory = ("best_score", "history")

    def __init__(self, upstream_dim, downstream_expert, expdir, **kwargs):
        super().__init__(expdir, **kwargs)
        self.datarc = downstream_expert["datarc"]
        self.model = nn.Sequential(nn.Linear(upstream_dim, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, CLASSES))
        self.register_buffer("best_score", torch.zeros(1))
        self.history: list[float] = []

    def get_extra_state(self):
        return {"history": list(self.history)}

    def set_extra_state(self, state):
        self.history = list(state["history"])

    def get_dataloader(self, split, epoch=0):
        size, batch, workers = self.datarc["sizes"][split], self.datarc["batch_size"], self.datarc["num_workers"]
        return DataLoader(Items(size), batch_size=batch, shuffle=split == "train", num_workers=workers, collate_fn=collate)

    def forward(self, split, features, labels, indices, records, **kwargs):
        logits = self.model(torch.stack([f.mean(0) for f in features]))
        losses = F.cross_entropy(logits, labels, reduction="none")
        records["loss"] += losses.tolist()
        records["index"] += indices
        records["logits"] += list(logits.detach())
        records["noise"].append(torch.rand(1).item())
        return losses.mean()

    def log_records(self, split, records, logger, global_step, batch_ids, total_batch_num, **kwargs):
        folded = 0.0
        for loss in records["loss"]:  # float32 sums in another order would differ
            folded = float(torch.tensor(folded, dtype=torch.float32) * 0.9 + loss)
        loss = sum(records["loss"]) / len(records["loss"])
        numbers = {"folded": folded, "loss": loss, "noise": sum(records["noise"]), "logit": torch.stack(records["logits"]).sum().item()}
        for name, value in numbers.items():
            logger.add_scalar(f"dealt/{split}-{name}", value, global_step=global_step)
        if split == "train":
            return None
        with (self.results_dir / "log.log").open("a") as log:
            log.write(f"{split} {global_step} {batch_ids} {total_batch_num} {records['index']}\n")
        self.history.append(loss)
        best = split == "dev" and (len(self.history) == 1 or -loss > self.best_score.item())
        if best:
            self.best_score.fill_(-loss)
        scores = {name: Score(value, higher_is_better=False) for name, value in numbers.items()}
        return Outcome(save_names=["dev-best.ckpt"] if best else [], scores=scores)
