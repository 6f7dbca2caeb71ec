"""The likelihood of codes against recorded ones of the public code."""

from __future__ import annotations

import math

import pytest
import torch

from downstream.audio_generation.data.chunks import Chunking
from downstream.audio_generation.likelihood import RANKS, hits, loss_of, scores_of
from downstream.audio_generation.models.build import build
from tests.downstream.audio_generation.families import SMALL
from tests.downstream.audio_generation.stepping import recorded


def case(golden, name, family):
    weights, arrays = recorded(golden(f"generation/nll/{name}"))
    model = build(SMALL[family]).eval()
    model.load_state_dict(weights)
    return model, arrays, arrays["y"][..., 0]


@pytest.mark.parametrize("family", ["sashimi", "unet", "wavenet"])
def test_recorded_likelihoods(golden, family):
    model, arrays, targets = case(golden, family, family)
    with torch.no_grad():
        logits, _ = model(arrays["x"])
    total, count = loss_of(logits, targets)
    found = hits(logits, targets)
    scores = scores_of({"nats": [total.item()], "count": [count], **{name: [number] for name, number in found.items()}})
    assert count == arrays["n_scored"].sum()
    assert scores["loss"].value == pytest.approx(arrays["loss_nats"].item(), rel=1e-4)
    assert scores["bpb"].value == pytest.approx(arrays["metric_bpb"].item(), rel=1e-4)
    assert scores["bpb"].value == pytest.approx(arrays["nll_bits_f64"].item(), rel=1e-4)
    for k in RANKS:  # the public code divides by all positions, those that are not scored included
        name = "metric_accuracy" if k == 1 else f"metric_accuracy_at_{k}"
        assert found[f"hits@{k}"] / targets.numel() == pytest.approx(arrays[name].item(), rel=1e-4)
        assert scores["accuracy" if k == 1 else f"accuracy@{k}"].value == found[f"hits@{k}"] / count


def test_recorded_losses_of_chunks(golden):
    model, arrays, targets = case(golden, "samplernn_tbptt", "samplernn")
    chunking, losses = Chunking(64, 16), []
    x = torch.nn.functional.pad(arrays["x"], (15, 0), value=128)
    for group in (slice(0, 2), slice(2, 4)):
        state = None
        for start in chunking.starts(targets.size(1)):
            inputs, wanted = chunking.window(x[group], targets[group], start)
            with torch.no_grad():
                logits, state = model(inputs, state)
            total, count = loss_of(logits, wanted)
            losses.append(total.item() / count)
    assert losses == pytest.approx(arrays["chunk_loss"].tolist(), rel=1e-4)
    assert [loss / math.log(2) for loss in losses] == pytest.approx(arrays["chunk_bpb"].tolist(), rel=1e-4)


def test_what_is_not_scored_counts_nowhere():
    logits = torch.zeros(1, 3, 256)
    logits[0, 0, 7] = 50
    targets = torch.tensor([[7, 250, -100]])
    total, count = loss_of(logits, targets)
    assert (count, total.item()) == (2, pytest.approx(math.log(256)))
    assert hits(logits, targets)["hits@1"] == 1
    assert scores_of({"nats": [0.0], "count": [0]})["bpb"].value == 0
