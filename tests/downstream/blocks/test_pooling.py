"""Poolings against S3PRL's recorded outputs, and what they must hold where S3PRL's do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from downstream.blocks.pooling import (
    AttentivePooling,
    MeanPooling,
    SelfAttentionPooling,
    TanhMeanPooling,
    TanhSelfAttentionPooling,
    activation_named,
)
from utility.errors import UnknownNameError

CASES = {
    "pool_mean_linear": lambda: TanhMeanPooling(5, published=True),
    "pool_sap_tanh": lambda: TanhSelfAttentionPooling(5),
    "pool_self_attention_masked": lambda: SelfAttentionPooling(5),
}


def arrays(path: Path) -> dict[str, torch.Tensor]:
    with np.load(path) as file:
        return {name: torch.from_numpy(file[name]) for name in file}


@pytest.mark.parametrize("case", CASES)
def test_recorded_poolings(golden, case: str):
    folder = golden(f"tasks/heads/{case}")
    given, expected = arrays(folder / "inputs.npz"), arrays(folder / "outputs.npz")
    module = CASES[case]()
    module.load_state_dict(torch.load(folder / "state.pt", weights_only=True))
    out = module(given["x"], (given["mask"] == 0).sum(dim=1))
    torch.testing.assert_close(out, expected["y0"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "module",
    [
        MeanPooling(),
        AttentivePooling(4),
        AttentivePooling(4, "Tanh"),
        SelfAttentionPooling(4),
        TanhSelfAttentionPooling(4),
        TanhMeanPooling(4),
    ],
    ids=lambda module: type(module).__name__,
)
def test_padding_changes_nothing(module: torch.nn.Module):
    features = torch.randn(3, 9, 4, generator=torch.Generator().manual_seed(1))
    lengths = torch.tensor([9, 5, 1])
    together = module(features, lengths)
    for item, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(together[item : item + 1], module(features[item : item + 1, :length], lengths[item : item + 1]))


def test_published_attention_depends_on_padding():
    module = AttentivePooling(4, published=True)
    features, length = torch.randn(1, 9, 4, generator=torch.Generator().manual_seed(1)), torch.tensor([5])
    assert not torch.allclose(module(features, length), module(features[:, :5], length))


def test_mean_is_the_mean():
    assert MeanPooling()(torch.tensor([[[1.0], [3.0], [100.0]]]), torch.tensor([2])).item() == 2.0


@pytest.mark.parametrize("name", ["Relu", "MultiheadAttention", "Linear"])
def test_unknown_activation(name: str):
    with pytest.raises(UnknownNameError, match="unknown activation"):
        activation_named(name)
