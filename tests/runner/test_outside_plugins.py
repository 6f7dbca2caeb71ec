"""Folders outside the repository, written as S3PRL's users write them, run by their paths: trained, killed, resumed exactly, applied."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from tests.support.compare import assert_same_run
from utility.experiment.killpoints import VARIABLE

UPSTREAM = '''
"""An upstream of the first S3PRL: a list of unpadded features comes out."""

import torch
from torch import nn

from .frames import frames_of


class UpstreamExpert(nn.Module):
    def __init__(self, ckpt=None, config=None, **kwargs):
        super().__init__()
        self.linear = nn.Linear(160, 6)

    def get_output_dim(self):
        return 6

    def get_downsample_rate(self):
        return 160

    def forward(self, wavs):
        return [self.linear(frames_of(wav)) for wav in wavs]
'''

FRAMES = """
def frames_of(wav):
    return wav[: len(wav) // 160 * 160].view(-1, 160)
"""

DOWNSTREAM = """
import random

import torch
from torch import nn
from torch.utils.data import DataLoader

from .dataset import RandomDataset


class DownstreamExpert(nn.Module):
    def __init__(self, upstream_dim, upstream_rate, downstream_expert, expdir, **kwargs):
        super(DownstreamExpert, self).__init__()
        self.expdir = expdir
        self.linear = nn.Sequential(nn.Dropout(0.2), nn.Linear(upstream_dim, 2))
        self.places = nn.Parameter(torch.randn(8, upstream_dim))
        self.objective = nn.CrossEntropyLoss()
        self.register_buffer("best_score", torch.zeros(1))

    def get_dataloader(self, mode):
        dataset = RandomDataset(10)
        return DataLoader(dataset, batch_size=3, shuffle=(mode == "train"), num_workers=1, collate_fn=dataset.collate_fn)

    def forward(self, mode, features, labels, records, **kwargs):
        places = self.places[torch.arange(40000) % len(self.places)]  # many gradients of a row: two threads would add them in any order
        pooled = torch.stack([f.mean(dim=0) for f in features]) + (torch.rand(40000, 1) * places).mean(dim=0)
        predicted = self.linear(pooled + 0.01 * random.random())
        labels = torch.LongTensor(labels).to(pooled.device)
        records["acc"] += (predicted.argmax(dim=-1) == labels).view(-1).cpu().float().tolist()
        return self.objective(predicted, labels)

    def log_records(self, mode, records, logger, global_step, **kwargs):
        average = torch.FloatTensor(records["acc"]).mean().item()
        logger.add_scalar(f"mine/{mode}-acc", average, global_step=global_step)
        with open(f"{self.expdir}/log.log", "a") as f:
            f.write(f"{mode} at step {global_step}: {average}\\n")
        if mode == "dev" and average > self.best_score:
            self.best_score = torch.ones(1) * average
            return ["dev-best.ckpt"]

    def inference(self, features, filenames):
        pooled = torch.stack([f.mean(dim=0) for f in features])
        return [{"name": filenames[0], "class": self.linear(pooled).argmax(dim=-1)[0].item()}]
"""

DATASET = """
import random

import numpy as np
import torch
from torch.utils.data.dataset import Dataset


class RandomDataset(Dataset):
    def __init__(self, size):
        self.order = list(range(size))
        random.shuffle(self.order)

    def __getitem__(self, idx):
        wav = torch.randn(random.randint(1600, 3200)) + np.random.rand()
        return wav, self.order[idx] % 2

    def __len__(self):
        return len(self.order)

    def collate_fn(self, samples):
        wavs, labels = [], []
        for wav, label in samples:
            wavs.append(wav)
            labels.append(label)
        return wavs, labels
"""

CONFIG = {
    "runner": {
        "total_steps": 9,
        "threads": 2,
        "gradient_clipping": 1,
        "gradient_accumulate_steps": 2,
        "log_step": 2,
        "eval_step": 4,
        "save_step": 3,
        "max_keep": 1,
        "eval_dataloaders": ["dev"],
    },
    "optimizer": {"name": "AdamW", "lr": 0.01},
    "downstream_expert": {},
}


@pytest.fixture(scope="module")
def plugins(tmp_path_factory) -> Path:
    """A folder with ``my-upstream`` and ``my-task``."""
    place = tmp_path_factory.mktemp("outside")
    for name, files in {
        "my-upstream": {"expert.py": UPSTREAM, "frames.py": FRAMES},
        "my-task": {"expert.py": DOWNSTREAM, "dataset.py": DATASET, "config.yaml": yaml.safe_dump(CONFIG)},
    }.items():
        (place / name).mkdir()
        for file, text in files.items():
            (place / name / file).write_text(text)
    return place


def test_trained_killed_resumed_and_applied(plugins, server):
    given = ["-u", str(plugins / "my-upstream"), "-d", str(plugins / "my-task"), "--device", "cpu"]
    whole, killed = plugins / "whole", plugins / "killed"
    process = server.run([*given, "-p", str(whole)], plugins)
    assert process.status == 0, process.err
    for point in ("checkpoint.written:2", "evaluate.middle:3"):
        process = server.run([*given, "-p", str(killed), "-a"], plugins, environment={VARIABLE: point})
        assert process.status == -signal.SIGKILL, process.err
    process = server.run([*given, "-p", str(killed), "-a"], plugins)
    assert process.status == 0, process.err
    assert_same_run(killed, whole)

    soundfile.write(plugins / "mine.ogg", np.random.default_rng(0).normal(0, 0.1, (22050, 2)), 22050)
    process = server.run(["-m", "inference", "-t", str(plugins / "mine.ogg"), "-e", str(whole), *given], plugins)
    assert process.status == 0, process.err
    answer = json.loads(process.out)
    assert (answer["name"], answer["file"]) == ("mine", str(plugins / "mine.ogg"))
    assert answer["class"] in (0, 1)


def test_an_evaluation_writes_nothing_into_the_training(plugins, server):
    before = (plugins / "whole" / "log.log").read_bytes()
    given = ["-u", str(plugins / "my-upstream"), "-d", str(plugins / "my-task"), "--device", "cpu"]
    process = server.run(["-m", "evaluate", "-t", "dev", "-e", str(plugins / "whole" / "dev-best.ckpt"), *given], plugins)
    assert process.status == 0, process.err
    assert (plugins / "whole" / "log.log").read_bytes() == before
    assert (plugins / "whole" / "results" / "dev-best" / "log.log").read_text().startswith("dev at step 0: ")


def test_the_paths_have_to_be_given_again(plugins, server):
    process = server.run(["-m", "evaluate", "-t", "dev", "-e", str(plugins / "whole")], plugins)
    assert process.status == 2
    assert "give --upstream again" in process.err
