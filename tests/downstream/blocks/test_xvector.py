"""X-vector layers against S3PRL's recorded outputs, and what must hold where S3PRL's do not."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from downstream.blocks.xvector import AGGREGATIONS, TDNN, SpeakerModel
from utility.errors import UnknownNameError


def test_recorded_layer_with_batch_normalisation(golden):
    folder = golden("tasks/heads/tdnn_batch_norm")
    layer = TDNN(**json.loads((folder / "params.json").read_text())["kwargs"])
    layer.load_state_dict(torch.load(folder / "state.pt", weights_only=True))
    found = layer.eval()(torch.from_numpy(np.load(folder / "inputs.npz")["x"]))
    np.testing.assert_allclose(found.detach(), np.load(folder / "outputs.npz")["y0"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("module", ["XVector", "Identity"])
@pytest.mark.parametrize("pooling", AGGREGATIONS)
@pytest.mark.parametrize("head", ["UtteranceExtractor", "UtteranceIdentity"])
def test_padding_changes_nothing(module: str, pooling: str, head: str):
    torch.manual_seed(1)
    options = {"agg_dim": 6} if module == "XVector" else {"no_args": True}
    model = SpeakerModel(4, module, pooling, head, options).eval()
    features, lengths = torch.randn(3, 40, 4), torch.tensor([40, 22, model.least_frames])
    for method in (model, model.inference):
        together = method(features, lengths)
        assert together.shape == (3, 4)
        for item, length in enumerate(lengths.tolist()):
            alone = method(features[item : item + 1, :length], lengths[item : item + 1])
            torch.testing.assert_close(together[item : item + 1], alone)


@pytest.mark.parametrize("pooling", ["SP", "MP"])
def test_published_poolings_see_one_frame_of_padding(pooling: str):
    module = AGGREGATIONS[pooling](4, 4, published=True)
    features = torch.randn(1, 9, 4, generator=torch.Generator().manual_seed(1))
    expected = AGGREGATIONS[pooling](4, 4)(features, torch.tensor([6]))
    torch.testing.assert_close(module(features, torch.tensor([5])), expected)


@pytest.mark.parametrize("pooling", AGGREGATIONS)
def test_constant_frames_have_finite_gradients(pooling: str):
    """A deviation of 0, as a ReLU that never fires has it, and a single frame."""
    features = torch.zeros(2, 5, 4, requires_grad=True)
    AGGREGATIONS[pooling](4, 4)(features, torch.tensor([5, 1])).square().sum().backward()
    assert torch.isfinite(features.grad).all()


def test_statistics():
    mean, deviation = AGGREGATIONS["SP"](1)(torch.tensor([[[1.0], [3.0], [100.0]]]), torch.tensor([2]))[0].tolist()
    assert (mean, deviation) == pytest.approx((2, 2**0.5))


@pytest.mark.parametrize("field", ["module", "agg_module", "utter_module"])
def test_unknown_modules(field: str):
    with pytest.raises(UnknownNameError, match=f"unknown {field} 'XVectr'"):
        SpeakerModel(4, **{field: "XVectr"})
