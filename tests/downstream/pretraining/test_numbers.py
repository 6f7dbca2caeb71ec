"""Losses and stretches of pre-training against numbers made by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from downstream.blocks.pretraining.frame_models import ApcTask
from downstream.blocks.pretraining.reconstruction import ReconstructionTask
from downstream.blocks.pretraining.task import PretrainingTask
from downstream.pretrain_distiller.expert import DownstreamExpert as Distiller


def bare(cls: type[nn.Module], **attributes: Any) -> Any:
    """A task that is made of nothing but what a method reads."""
    made = cls.__new__(cls)
    nn.Module.__init__(made)
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("ours", "theirs", "distance", "cosine"),
    [([1.0, 0.0], [1.0, 0.0], 0.0, 1.0), ([1.0, 0.0], [0.0, 1.0], 1.0, 0.0), ([1.0, 0.0], [-3.0, 0.0], 2.0, -1.0)],
)
@pytest.mark.parametrize("weight", [0.0, 1.0, 2.0])
def test_the_distillers_loss(ours, theirs, distance, cosine, weight):
    """Mean absolute difference plus the weighted -log sigmoid of the cosine, which falls as the two turn to each other (2110.01900)."""
    expert = bare(Distiller, settings={"cosine_loss": weight})
    (loss,) = expert._losses(torch.tensor([[ours]]), torch.tensor([[theirs]])).flatten().tolist()
    assert loss == pytest.approx(distance + weight * math.log(1 + math.exp(-cosine)), abs=1e-6)


def test_only_a_lower_loss_is_the_best(tmp_path):
    task = bare(PretrainingTask, train_split="train", evaluated=["dev", "test"], results_dir=str(tmp_path))
    task.register_buffer("best_score", torch.full((1,), torch.inf))
    logger = SimpleNamespace(add_scalar=lambda *_, **__: None)

    def saved(split: str, loss: float) -> list[str]:
        return list(task.log_records(split, {"error": [2 * loss, 0.0], "count": [1, 1]}, logger, 1, [], 1).save_names)

    assert [saved("dev", loss) for loss in (3.0, 4.0, 3.5, 2.0, 2.5)] == [["dev-best.ckpt"], [], [], ["dev-best.ckpt"], []]
    assert saved("test", 0.5) == [] and task.best_score.item() == 2.0


class Frames:
    """Frames of one sample; ``scale`` makes the target another feature, ``dim`` wide."""

    def __init__(self, scale: float, dim: int):
        self.scale, self.dim = scale, dim

    def items(self, wavs: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        return [self.scale * wav[:, None].expand(-1, self.dim) for wav in wavs], torch.tensor([len(wav) for wav in wavs])


def test_another_target_counts_only_where_something_was_hidden():
    """Frame 1 alone is hidden; the head says 0, so that the error is its target, 10 times its number, three numbers wide."""

    def apply(frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        label = torch.zeros_like(frames)
        label[:, 1] = 1
        return frames * (1 - label), label

    task = bare(ReconstructionTask, frames=Frames(1.0, 2), target=Frames(10.0, 3), masking=SimpleNamespace(apply=apply))
    task.model, task.head = lambda hidden, lengths: [hidden], lambda states: torch.zeros(*states.shape[:2], 3)
    sums, counts = task.errors([torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[4.0], [5.0], [6.0]])])
    assert sums.tolist() == [60.0, 150.0] and counts.tolist() == [3, 3]


def test_stretches_begin_anywhere_within_their_recording():
    """Frames are their own numbers, so that the first of a stretch is where it begins."""
    lengths = torch.tensor([10, 6, 3])
    frames = torch.arange(10.0)[None, :, None].expand(3, -1, 1)
    task = bare(ApcTask, task={"sequence_length": 4})
    task.frames = lambda wavs: (frames, lengths)
    torch.manual_seed(0)
    starts: list[set[int]] = [set(), set(), set()]
    for _ in range(300):
        taken, kept = task.stretches([torch.zeros(1, 1)] * 3)
        assert kept.tolist() == [4, 4, 3] and taken.shape == (3, 4, 1)
        assert torch.equal(taken[..., 0] - taken[:, :1, 0], torch.arange(4.0).expand(3, -1))
        for seen, item in zip(starts, taken, strict=True):
            seen.add(int(item[0]))
    assert starts == [set(range(7)), set(range(3)), {0}]
