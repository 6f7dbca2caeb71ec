"""The convolutions of frozen nets, as matrix products, beside the modules that they replace."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from utility.networks import frozen_convolutions
from utility.networks.frozen_convolutions import FrozenConvolutions
from utility.networks.transformer_body import build_body
from utility.networks.transformer_config import TransformerSettings

SIZES = "[(8, 10, 5)] + [(8, 3, 2)] * 2 + [(6, 2, 2), (6, 1, 1), (5, 2, 3)]"


def extractor(**changes: object) -> tuple[nn.ModuleList, TransformerSettings]:
    small = {"encoder_layers": 1, "encoder_embed_dim": 16, "encoder_ffn_embed_dim": 8, "encoder_attention_heads": 2}
    settings = TransformerSettings.of({**small, "conv_feature_layers": SIZES, **changes}, "tiny")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = build_body(settings, "wav2vec2").eval().feature_extractor.conv_layers
        for weight in layers.parameters():
            weight.data.add_(0.2 * torch.randn_like(weight))
    return layers, settings


def expected(layers: nn.ModuleList, wav: Tensor) -> Tensor:
    x = wav[None, None]
    for layer in layers:
        x = layer(x)
    return x[0].T


@pytest.mark.parametrize("block", [1, 4, 1000])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("mode", ["default", "layer_norm"])
@pytest.mark.parametrize("longest", [None, 4000, 9000])
@torch.no_grad()
def test_they_give_the_frames_of_the_modules(mode, bias, block, longest, monkeypatch):
    monkeypatch.setattr(frozen_convolutions, "BLOCK", block)
    layers, settings = extractor(extractor_mode=mode, conv_bias=bias)
    wav = 0.1 * torch.randn(4000, generator=torch.Generator().manual_seed(1)) + 0.3
    reference = expected(layers, F.pad(wav, (0, (longest or 4000) - 4000)))
    for frames in (1, 9, len(reference)):
        ours = FrozenConvolutions(layers, settings.conv_feature_layers, longest)(wav, frames)
        torch.testing.assert_close(ours, reference[:frames], rtol=1e-4, atol=2e-5)


@torch.no_grad()
def test_silence_and_a_constant():
    """The variance of the group norm is zero, or only rounding."""
    layers, settings = extractor()
    for wav in (torch.zeros(3000), torch.full((3000,), 0.5)):
        ours = FrozenConvolutions(layers, settings.conv_feature_layers, None)(wav, 3)
        torch.testing.assert_close(ours, expected(layers, wav)[:3], rtol=1e-4, atol=1e-4)
