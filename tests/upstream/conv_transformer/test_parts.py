"""The masks and the attention of the convolution + Transformer family against their definitions and transformers' own."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from utility.networks.transformer_masks import grouped_frames, key_mask, valid_mask, without_padding
from utility.networks.transformer_parts import RelativeAttention, relative_bucket


@given(st.lists(st.integers(400, 5000), min_size=1, max_size=5), st.integers(1, 12))
def test_grouped_frames_are_those_with_a_sample_in_their_group(samples, frames):
    longest = max(samples)
    padding = torch.arange(longest) >= torch.tensor(samples)[:, None]
    groups = padding[:, : longest - longest % frames].view(len(samples), frames, -1)
    assert grouped_frames(samples, frames) == (~groups.all(-1)).sum(1).tolist()


def test_masks():
    assert valid_mask([4, 5], 4, torch.device("cpu")) is None and key_mask(None, torch.zeros(1)) is None
    valid = valid_mask([1, 3], 3, torch.device("cpu"))
    assert valid.tolist() == [[True, False, False], [True, True, True]]
    mask = key_mask(valid, torch.zeros(1, dtype=torch.float16))
    assert mask.shape == (2, 1, 3, 3) and mask.dtype == torch.float16 and (mask[1] == 0).all() and (mask[0, 0, :, 1:] < -6e4).all()
    assert without_padding(torch.ones(2, 3, 1), valid)[..., 0].tolist() == [[1, 0, 0], [1, 1, 1]]


@pytest.fixture
def pair() -> tuple[RelativeAttention, nn.Module]:
    from transformers.models.wavlm.modeling_wavlm import WavLMAttention

    torch.manual_seed(0)
    ours, theirs = RelativeAttention(64, 4, 0.0, 32, 50, gated=True, first=True), WavLMAttention(64, 4, 0.0, 32, 50)
    theirs.load_state_dict(ours.state_dict())
    return ours.eval(), theirs.eval()


@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")  # of transformers' own call
def test_relative_attention_is_that_of_transformers(pair):
    ours, theirs = pair
    x, valid = torch.randn(2, 70, 64), torch.arange(70) < torch.tensor([[70], [31]])
    bias = ours.position_bias(70)
    torch.testing.assert_close(bias, theirs.compute_bias(70, 70))
    expected, _, _ = theirs(x, attention_mask=valid.long())
    torch.testing.assert_close(ours(x, key_mask(valid, x), bias)[0], expected, rtol=1e-4, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        half = ours(x, key_mask(valid, x), ours.position_bias(70))[0]
    assert (half - expected).abs().max() < 0.02


def test_buckets():
    distances = torch.tensor([-2000, -80, -79, -1, 0, 1, 79, 80, 799, 800, 2000])
    assert relative_bucket(distances, 320, 800).tolist() == [159, 80, 79, 1, 0, 161, 239, 240, 319, 319, 319]
