"""Convolutions over time: frames kept, padding without effect, context as wide as configured."""

from __future__ import annotations

import pytest
import torch

from downstream.blocks.convolution import Convolution
from downstream.blocks.heads import build_head
from utility.errors import ConfigError, UnknownNameError


@pytest.fixture(params=[False, True], ids=["plain", "layer_norm"])
def head(request: pytest.FixtureRequest) -> Convolution:
    torch.manual_seed(0)
    return Convolution(6, 4, channels=[8, 5], kernel_size=5, dilations=[1, 3], activation="Tanh", layer_norm=request.param)


def test_frames_and_lengths_are_kept(head: Convolution):
    out, lengths = head(torch.randn(2, 11, 6), torch.tensor([11, 7]))
    assert out.shape == (2, 11, 4)
    assert lengths.tolist() == [11, 7]


def test_padding_changes_nothing(head: Convolution):
    features = [torch.randn(frames, 6) for frames in (20, 7, 1)]
    lengths = torch.tensor([20, 7, 1])
    padded = torch.nn.utils.rnn.pad_sequence(features, batch_first=True, padding_value=9.0)
    together, _ = head(padded, lengths)
    for item, feature in enumerate(features):
        alone, _ = head(feature[None], lengths[item : item + 1])
        torch.testing.assert_close(together[item, : len(feature)], alone[0])


def test_context(head: Convolution):
    """Kernels of 5 frames, dilated by 1 and 3, see 2 + 6 frames to each side and no more."""
    features = torch.randn(1, 41, 6, requires_grad=True)
    out, _ = head(features, torch.tensor([41]))
    out[0, 20].sum().backward()
    seen = features.grad[0].abs().sum(dim=-1).nonzero().flatten()
    assert (seen.min().item(), seen.max().item()) == (20 - 8, 20 + 8)


def test_layer_norm_makes_each_frame_independent_of_its_scale():
    torch.manual_seed(0)
    head = Convolution(6, 4, channels=[64], kernel_size=1, layer_norm=True)
    torch.nn.init.zeros_(head.convolutions[0].bias)
    features, lengths = torch.randn(1, 5, 6), torch.tensor([5])
    torch.testing.assert_close(head(100 * features, lengths)[0], head(features, lengths)[0], rtol=1e-3, atol=1e-3)
    assert not torch.allclose(head(100 * features + 1, lengths)[0], head(features, lengths)[0], atol=1e-2)


def test_dropout_is_for_training():
    head = Convolution(3, 2, channels=[16], dropout=0.5)
    features, lengths = torch.randn(1, 9, 3), torch.tensor([9])
    assert not torch.equal(head(features, lengths)[0], head(features, lengths)[0])
    head.eval()
    assert torch.equal(head(features, lengths)[0], head(features, lengths)[0])


def test_within_an_utterance_level_head():
    described = {"select": "UtteranceLevel", "UtteranceLevel": {"pre_net": {"select": "Convolution", "Convolution": {"channels": [7]}}}}
    out, lengths = build_head(described, 6, 3)(torch.randn(2, 12, 6), torch.tensor([12, 4]))
    assert out.shape == (2, 3)
    assert lengths.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"kernel_size": 4}, "kernel_size must be odd, not 4"),
        ({"channels": []}, "channels must name at least one width"),
        ({"channels": [3, 3], "dilations": [1]}, "2 channels need 2 dilations, not 1"),
        ({"kernel": 3}, "did you mean 'kernel_size'"),
    ],
)
def test_wrong_options(options: dict, sentence: str):
    with pytest.raises(ConfigError, match=sentence):
        build_head({"select": "Convolution", "Convolution": options}, 5, 4)


def test_wrong_activation():
    with pytest.raises(UnknownNameError, match="did you mean 'ReLU'"):
        Convolution(5, 4, activation="Relu")
