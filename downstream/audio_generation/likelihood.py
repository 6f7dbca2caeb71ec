"""How well a network predicts codes: negative log likelihood in bits per sample, and how often the right code is among the likeliest."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor

from downstream.interfaces import Score

from .data.batches import IGNORED

RANKS = (1, 3, 5, 10)


def loss_of(logits: Tensor, targets: Tensor) -> tuple[Tensor, int]:
    """The summed loss in nats (scalar) of logits (B, L, n_codes) and targets (B, L), and how many targets are scored."""
    total = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, reduction="sum")
    return total, int((targets != IGNORED).sum())


def hits(logits: Tensor, targets: Tensor) -> dict[str, int]:
    """How many of the scored targets are among the k likeliest codes, for each k of :data:`RANKS`."""
    order = logits.topk(min(max(RANKS), logits.size(-1)), -1).indices
    right = order == targets[..., None]
    return {f"hits@{k}": int(right[..., :k].any(-1).sum()) for k in RANKS}


def scores_of(records: Mapping[str, Sequence[float]]) -> dict[str, Score]:
    """The scores of the records ``nats``, ``count`` and, where they are, ``hits@k``; an item that is not scored counts nowhere."""
    totals: dict[str, float] = defaultdict(float) | {name: math.fsum(values) for name, values in records.items()}
    count = max(1, totals["count"])
    nats = totals["nats"] / count
    scores = {"bpb": Score(nats / math.log(2), False, "bits per sample"), "loss": Score(nats, False, "nats per sample")}
    for k in RANKS:
        if f"hits@{k}" in totals:
            scores["accuracy" if k == 1 else f"accuracy@{k}"] = Score(totals[f"hits@{k}"] / count, True, "fraction")
    return scores
