"""A task whose waveforms are the same in every epoch; its model draws random numbers in training."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from downstream.interfaces import DownstreamBase, Outcome, Score

CLASSES = 3
SPLITS = ("train", "dev", "test")


class Items(Dataset):
    def __init__(self, split, size):
        self.split, self.size = SPLITS.index(split), size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(1000 * self.split + index)
        wav = torch.randn(169 + 16 * (index % 8), generator=generator) + 3 * (index % CLASSES - 1)
        return wav, index % CLASSES


def collate(items):
    wavs, labels = zip(*items, strict=True)
    return list(wavs), torch.tensor(labels)


class DownstreamExpert(DownstreamBase):
    splits = SPLITS

    def __init__(self, upstream_dim, downstream_expert, expdir, **kwargs):
        super().__init__(expdir, **kwargs)
        self.datarc = downstream_expert["datarc"]
        self.model = nn.Sequential(nn.Linear(upstream_dim, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, CLASSES))
        self.register_buffer("best_score", torch.zeros(1))

    def get_dataloader(self, split, epoch=0):
        size, batch, workers = self.datarc["sizes"][split], self.datarc["batch_size"], self.datarc["num_workers"]
        return DataLoader(Items(split, size), batch_size=batch, shuffle=split == "train", num_workers=workers, collate_fn=collate)

    def forward(self, split, features, labels, records, **kwargs):
        logits = self.model(torch.stack([f.mean(0) for f in features]))
        losses = F.cross_entropy(logits, labels, reduction="none")
        records["loss"] += losses.tolist()
        records["noise"].append(torch.rand(1).item())
        return losses.mean()

    def log_records(self, split, records, logger, global_step, batch_ids, total_batch_num, **kwargs):
        loss = sum(records["loss"]) / len(records["loss"])
        logger.add_scalar(f"stored/{split}-loss", loss, global_step=global_step)
        logger.add_scalar(f"stored/{split}-noise", sum(records["noise"]), global_step=global_step)
        with (self.results_dir / "log.log").open("a") as log:
            log.write(f"{split} {global_step} {loss}\n")
        return Outcome(scores={"loss": Score(loss, higher_is_better=False)})
