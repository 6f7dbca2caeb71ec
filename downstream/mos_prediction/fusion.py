"""RAMP: how much to trust neighbours and how much the predictor (Wang et al., Interspeech 2023; specs/mos-prediction.md, 6.5).

Learnt from the neighbours' distances and the predictor's certainty. Representations and predictor stay as they are; only the small nets
here are trained, on the training set with each utterance itself left out of its neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from utility.errors import DataError

from . import plain_files

HIDDEN, DROPOUT, TOP = 32, 0.2, 3


@dataclass(frozen=True)
class Evidence:
    """What is known of Q utterances.

    Args:
        squared: (Q, k) squared distances of the neighbours, nearest first.
        scores: (Q, k) scores of the neighbours.
        predicted: (Q,) scores by the predictor.
        classes: (Q, C) probabilities by its categorical head; class c is the score 1 + c step.
        step: distance of the classes' scores.
    """

    squared: Tensor
    scores: Tensor
    predicted: Tensor
    classes: Tensor
    step: float

    def __getitem__(self, chosen: Tensor) -> Evidence:
        return Evidence(self.squared[chosen], self.scores[chosen], self.predicted[chosen], self.classes[chosen], self.step)


class Fusion(nn.Module):
    """Evidence to (Q,) scores.

    Args:
        k: neighbours of each utterance.
        scale: what squared distances are divided by first: their mean on the training set.
    """

    def __init__(self, k: int, scale: float = 1.0):
        super().__init__()
        self.k = k
        self.register_buffer("scale", torch.tensor(float(scale)))
        self.choice = nn.Sequential(nn.Linear(k, HIDDEN), nn.Tanh(), nn.Dropout(DROPOUT), nn.Linear(HIDDEN, k))
        self.trust_neighbours = _two_layers(k)
        self.trust_predictor = _two_layers(k + TOP + 2)

    def forward(self, evidence: Evidence) -> Tensor:
        """The fused scores."""
        squared = evidence.squared / self.scale
        neighbours = (self.choice(squared).softmax(-1) * by_count(squared, evidence.scores)).sum(-1)
        certain = [_probability(evidence, score)[:, None] for score in (evidence.predicted, neighbours)]
        likeliest = evidence.classes.topk(TOP, dim=-1).values
        trust = torch.cat([self.trust_neighbours(squared), self.trust_predictor(torch.cat([*certain, likeliest, squared], -1))], -1)
        return (trust.softmax(-1) * torch.stack([neighbours, evidence.predicted], -1)).sum(-1)


def by_count(squared: Tensor, scores: Tensor) -> Tensor:
    """(Q, k): the score by the nearest one, two ... k neighbours, each weighted by softmax of its negative squared distance."""
    weights = (squared[:, :1] - squared).exp()  # of each count the same up to its sum; the nearest has 1
    return (weights * scores).cumsum(-1) / weights.cumsum(-1)


def train(evidence: Evidence, truth: Tensor, seed: int, epochs: int = 60, batch: int = 64) -> Fusion:
    """Fits the nets by the mean absolute error.

    Args:
        evidence: of the training set, without each utterance itself among its neighbours.
        truth: (Q,) mean opinion scores.
        seed: of weights and order.

    Raises:
        DataError: the classes are too few.
    """
    if evidence.classes.size(1) < TOP:
        raise DataError(f"fusion needs a categorical head of {TOP} classes at least, not {evidence.classes.size(1)}")
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        fusion = Fusion(evidence.squared.size(1), evidence.squared.mean().clamp_min(1e-8).item()).to(truth.device)
        optimizer = torch.optim.Adam(fusion.parameters(), lr=1e-3)
        for _ in range(epochs):
            for chosen in torch.randperm(len(truth)).to(truth.device).split(batch):
                optimizer.zero_grad()
                F.l1_loss(fusion(evidence[chosen]), truth[chosen]).backward()
                optimizer.step()
    return fusion.eval()


def save(path: Path, fusion: Fusion) -> None:
    """Writes the nets."""
    plain_files.write(path, {"k": fusion.k, "weights": fusion.state_dict()})


def read(path: Path) -> Fusion:
    """Reads what :func:`save` wrote.

    Raises:
        CheckpointError: it is something else.
    """
    return plain_files.read(path, _fusion, "file of fusion nets", "fusion")


def _fusion(content: Mapping[str, Any]) -> Fusion:
    fusion = Fusion(content["k"])
    fusion.load_state_dict(content["weights"])
    return fusion.eval()


def _probability(evidence: Evidence, scores: Tensor) -> Tensor:
    """(Q,) what the categorical head thinks of the classes of these scores."""
    classes = ((scores.detach() - 1) / evidence.step).round().long().clamp(0, evidence.classes.size(1) - 1)
    return evidence.classes.gather(1, classes[:, None])[:, 0]


def _two_layers(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))
