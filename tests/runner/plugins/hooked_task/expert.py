"""A task that uses every optional hook, steered by its config."""

import os

import torch
from torch import nn
from torch.utils.data import DataLoader

from downstream.interfaces import DownstreamBase, Outcome, Score


class DownstreamExpert(DownstreamBase):
    task_version = 7
    splits = ("train", "dev", "test")
    runs = ("report",)

    def __init__(self, upstream_dim, upstream_rate, downstream_expert, expdir, **kwargs):
        super().__init__(expdir, **kwargs)
        self.conf = downstream_expert
        self.sample_rate = self.conf.get("sample_rate", 16000)
        self.length_rule = self.conf.get("length_rule", "round")
        self.trains = self.conf.get("trains", True)
        self.inference_inputs = self.conf.get("inference_inputs", "files")
        self.linear = nn.Linear(upstream_dim, 1)
        self.scale = nn.Parameter(torch.ones(1))
        self.seen = []  # memory that is no tensor
        self.saved = []

    def get_extra_state(self):
        return {"seen": self.seen}

    def set_extra_state(self, state):
        self.seen = list(state["seen"])

    def get_dataloader(self, split, epoch=0):
        wavs = [torch.sin(torch.arange(1600 + 80 * i) * 0.01 * (i + 1)) for i in range(self.conf.get("items", 6))]
        return DataLoader(wavs, batch_size=2, shuffle=split == "train", collate_fn=lambda wavs: (wavs, [len(w) for w in wavs]))

    def forward(self, split, features, lengths, records, **kwargs):
        records["frames"] += [len(f) for f in features]
        records["samples"] += lengths
        value = torch.stack([self.linear(f).mean() for f in features]).mean() * self.scale
        if split == "train" and len(self.seen) + 1 in self.conf.get("bad_steps", ()):
            value = value * float("nan")
        loss = (value - 1).pow(2).sum()
        records["loss"].append(loss.item())
        return loss

    def log_records(self, split, records, logger, global_step, batch_ids, total_batch_num, **kwargs):
        loss = sum(records["loss"]) / len(records["loss"])
        logger.add_scalar(f"hooked/{split}-loss", loss, global_step=global_step)
        self.seen.append(f"{split}@{global_step}")
        stop = split == "dev" and global_step >= self.conf.get("stop_at", 10**9)
        names = ["dev-best.ckpt"] if split == "dev" else []
        return Outcome(names, stop, {"loss": Score(loss, higher_is_better=False, unit="square")})

    def before_update(self):
        nn.utils.clip_grad_value_(self.parameters(), self.conf.get("steepest", float("inf")))

    def after_update(self):
        with torch.no_grad():
            self.scale.clamp_(max=self.conf.get("most", float("inf")))

    def inference(self, features, names):
        return [{"names": list(names), "frames": [len(f) for f in features]}]

    def run(self, name, context):
        with (context.results_dir / "ranks.txt").open("a") as ranks:
            ranks.write(f"{os.environ.get('RANK')}\n")
        features = context.extract([torch.ones(3200)])
        (context.results_dir / "report.txt").write_text(f"{name} {tuple(features[0].shape)} {context.device} {context.seed}\n")
        return {"width": Score(float(features[0].shape[1]), higher_is_better=True, unit="columns")}

    def param_groups(self, modules):
        if not self.conf.get("groups"):
            return None
        return [{"params": self.linear.parameters()}, {"params": [self.scale], "lr": self.conf.get("group_lr", 0.5)}]

    def after_save(self, path, global_step):
        self.saved.append(path.name)
        link = path.with_name("newest.link")
        link.unlink(missing_ok=True)
        link.symlink_to(path.name)
