"""A task as S3PRL's users write them: every source of randomness is a global generator, and nothing is known of resuming.

Items are drawn at random when they are read (Python's, numpy's and torch's generator), batches are changed in collate, the model drops
units out, the best score is a buffer that is replaced, predictions go to ``log.log`` line by line.
"""

import os
import random
import signal
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, IterableDataset

CLASSES = 3


def draw(index):
    """An item as a function of its index and of the three global generators."""
    length = 160 + 16 * random.randrange(8)
    wav = np.random.randn(length).astype(np.float32) + torch.rand(1).item()
    label = index % CLASSES
    wav += 3 * (label - 1)
    return wav, label, f"utterance-{index}"


class Items(Dataset):
    def __init__(self, size, kill_marker=None, kill_index=None):
        self.size, self.kill_marker, self.kill_index = size, kill_marker, kill_index

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        if self.kill_marker and index == self.kill_index and not Path(self.kill_marker).exists():
            Path(self.kill_marker).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return draw(index)


class Stream(IterableDataset):
    def __init__(self, size):
        self.size = size

    def __iter__(self):
        yield from map(draw, range(self.size))


def collate(items):
    wavs, labels, names = zip(*items, strict=True)
    gain = random.uniform(0.5, 2) * np.random.uniform(0.9, 1.1) * torch.rand(1).item()
    return [torch.from_numpy(wav) * gain for wav in wavs], torch.tensor(labels), list(names)


class DownstreamExpert(nn.Module):
    def __init__(self, upstream_dim, upstream_rate, downstream_expert, expdir, **kwargs):
        super().__init__()
        self.datarc = downstream_expert["datarc"]
        self.expdir = expdir
        self.model = nn.Sequential(nn.Linear(upstream_dim, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, CLASSES))
        self.norm = nn.BatchNorm1d(8)
        self.register_buffer("best_score", torch.ones(1) * -1e9)

    def get_dataloader(self, split):
        size, batch, workers = self.datarc["sizes"][split], self.datarc["batch_size"], self.datarc["num_workers"]
        if split == "train" and self.datarc.get("stream"):
            return DataLoader(Stream(size), batch_size=batch, num_workers=workers, collate_fn=collate)
        kill = (self.datarc.get("kill_marker"), self.datarc.get("kill_index")) if split == self.datarc.get("kill_split", "train") else ()
        dataset = Items(size, *kill)
        return DataLoader(dataset, batch_size=batch, shuffle=split == "train", num_workers=workers, collate_fn=collate)

    def forward(self, split, features, labels, names, records, **kwargs):
        pooled = torch.stack([self.model[0](f).mean(0) for f in features])
        logits = self.model[1:](self.norm(pooled))
        loss = F.cross_entropy(logits, labels)
        records["loss"].append(loss.detach())
        records["acc"] += (logits.argmax(-1) == labels).float().tolist()
        records["name"] += names
        records["noise"].append(torch.rand(2))
        return loss

    def log_records(self, split, records, logger, global_step, batch_ids, total_batch_num, **kwargs):
        loss = torch.stack(records["loss"]).mean().item()
        logger.add_scalar(f"toy/{split}-loss", loss, global_step=global_step)
        logger.add_scalar(f"toy/{split}-acc", np.mean(records["acc"]), global_step=global_step)
        logger.add_scalar(f"toy/{split}-noise", torch.stack(records["noise"]).sum(), global_step=global_step)
        names = []
        with (Path(self.expdir) / "log.log").open("a") as f:
            f.write(f"{split} at step {global_step}: {loss} {batch_ids} {records['name'][-1]}\n")
            if split == "dev" and -loss > self.best_score:
                self.best_score = torch.ones(1) * -loss
                f.write(f"New best on {split} at step {global_step}: {loss}\n")
                names.append("dev-best.ckpt")
        return names
