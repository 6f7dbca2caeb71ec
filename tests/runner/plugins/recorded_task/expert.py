"""The task of the recorded trainings, in S3PRL's style: stored batches in their order, a mean-pooling classifier."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset


class Batches(Dataset):
    def __init__(self, case, split):
        self.arrays = np.load(case / "inputs.npz")
        self.split, self.labels = split, json.loads((case / "params.json").read_text())["batches"][split]

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        labels = self.labels[index]
        return [self.arrays[f"{self.split}_{index}_{item}"] for item in range(len(labels))], labels


class DownstreamExpert(nn.Module):
    def __init__(self, upstream_dim, upstream_rate, downstream_expert, expdir, **kwargs):
        super().__init__()
        self.case = Path(downstream_expert["case"])
        self.projector = nn.Linear(upstream_dim, 5)
        self.model = nn.ModuleDict({"post_net": nn.ModuleDict({"linear": nn.Linear(5, 4)})})
        self.register_buffer("best_score", torch.zeros(1))

    def get_dataloader(self, mode):
        return DataLoader(Batches(self.case, mode), batch_size=1, collate_fn=lambda items: items[0])

    def forward(self, mode, features, labels, records, **kwargs):
        lengths = torch.tensor([len(f) for f in features])
        projected = self.projector(pad_sequence(features, batch_first=True))
        mask = torch.arange(projected.size(1)).unsqueeze(0) < lengths.unsqueeze(1)
        pooled = (projected * mask.unsqueeze(-1)).sum(1) / lengths.unsqueeze(1)
        logits = self.model["post_net"]["linear"](pooled)
        target = torch.tensor(labels)
        loss = F.cross_entropy(logits, target)
        records["acc"] += (logits.argmax(-1) == target).float().tolist()
        records["loss"].append(loss.item())
        return loss

    def log_records(self, mode, records, logger, global_step, **kwargs):
        names = []
        for key in ("acc", "loss"):
            mean = torch.FloatTensor(records[key]).mean().item()
            logger.add_scalar(f"emotion-fold1/{mode}-{key}", mean, global_step=global_step)
            if key == "acc" and mode == "dev" and mean > self.best_score:
                self.best_score = torch.ones(1) * mean
                names.append("dev-best.ckpt")
        return names
