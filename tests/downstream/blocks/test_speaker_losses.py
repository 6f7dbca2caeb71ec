"""Losses of speaker verification against S3PRL's recorded values and gradients."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from downstream.blocks.speaker_losses import LOSSES


@pytest.mark.parametrize("case", ["sv_am", "sv_am_small", "sv_aam", "sv_aam_easy", "sv_softmax"])
def test_recorded_losses(golden, case: str):
    folder = golden(f"tasks/losses/{case}")
    params, given, expected = (
        json.loads((folder / "params.json").read_text()),
        *(dict(np.load(folder / f"{name}.npz")) for name in ("inputs", "outputs")),
    )
    loss = LOSSES[params["cls"]](**params["kwargs"])
    loss.load_state_dict(torch.load(folder / "state.pt", weights_only=True))
    vectors = torch.from_numpy(given["x"]).requires_grad_()
    value = loss(vectors, torch.from_numpy(given["labels"]))
    value.backward()
    found = {"loss": value.detach(), "grad_x": vectors.grad, **{f"grad_{name}": p.grad for name, p in loss.named_parameters()}}
    assert set(found) == set(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("name", LOSSES)
def test_extreme_vectors_have_finite_gradients(name: str):
    """Vectors along the class's own direction (where the angle's root has no derivative), far against it, and zero."""
    loss = LOSSES[name](4, 4)
    with torch.no_grad():
        next(loss.parameters()).copy_(torch.eye(4))
    vectors = torch.stack([torch.eye(4)[0], -torch.eye(4)[1], torch.zeros(4)]).requires_grad_()
    value = loss(vectors, torch.tensor([0, 1, 2]))
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(vectors.grad).all()
    assert all(torch.isfinite(parameter.grad).all() for parameter in loss.parameters())


def test_margins_make_it_harder():
    vectors, speakers = torch.eye(4), torch.arange(4)
    for name in ("AMSoftmaxLoss", "AAMSoftmaxLoss"):
        easy, hard = LOSSES[name](4, 4, m=0.0), LOSSES[name](4, 4, m=0.5)
        hard.load_state_dict(easy.state_dict())
        assert hard(vectors, speakers) > easy(vectors, speakers)
