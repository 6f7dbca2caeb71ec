"""Each network of the registry: exported, quantised, streamed, measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from downstream.speech_enhancement.masking import enhance, mask_of
from downstream.speech_enhancement.models.registry import MODELS, build_model
from downstream.speech_enhancement.onnx.export import export
from downstream.speech_enhancement.onnx.footprint import footprint
from downstream.speech_enhancement.onnx.options import Quantization
from downstream.speech_enhancement.onnx.quantization import quantize
from downstream.speech_enhancement.onnx.session import OnnxMask
from downstream.speech_enhancement.onnx.streamed import masks_of, measure
from utility.audio.stft import Stft, StftOptions

SMALL = {
    "STFTTCNN": {"tcn_latent_dim": 16, "n_blocks": 1, "num_layers": 2},
    "ConvLSTMDenoiser": {"lstm_hidden_size": 8},
    "LSTMDenoiser": {"hidden_size": 8},
    "BandGRU": {"channels": 8, "dual_paths": 1, "dilations": [1, 2], "bands": 8, "low_bins": 9},
}
STFT = StftOptions(n_fft=64, hop_length=20, win_length=50)


@pytest.fixture(params=MODELS)
def net(request) -> nn.Module:
    torch.manual_seed(0)
    model = build_model(request.param, SMALL.get(request.param, {}), STFT.bins).eval()
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.normal_(module.bias)
    return model


def test_from_torch_to_int8(net: nn.Module, tmp_path: Path):
    """Any batch and length in ONNX as in torch; int8 stays near it."""
    path = export(net, tmp_path / "a.onnx", STFT.bins)
    mask, rng = OnnxMask(path, STFT.bins), np.random.default_rng(0)
    for batch, frames in ((1, 1), (2, 23)):
        given = rng.random((batch, STFT.bins, frames), dtype=np.float32)
        np.testing.assert_allclose(mask(given), mask_of(net)(given), atol=1e-5)
    made = quantize(path, tmp_path, [lambda: given[:1]], Quantization())
    assert np.abs(OnnxMask(made.dynamic, STFT.bins)(given) - mask(given)).mean() < 0.05
    assert OnnxMask(made.static, STFT.bins)(rng.random((1, STFT.bins, 40), dtype=np.float32)).shape == (1, STFT.bins, 40)
    found = footprint(path, STFT.bins, 23)
    assert found.macs > 23 * STFT.bins
    assert found.parameters > 0.5 * sum(parameter.numel() for parameter in net.parameters())


def test_streamed_as_whole(net: nn.Module):
    stft, wave = Stft(STFT), torch.from_numpy(np.random.default_rng(1).normal(0, 0.1, 1511)).float()
    fresh = masks_of(net, mask_of(net), STFT.bins, None, None)
    found = measure([wave], stft, mask_of(net), fresh)
    assert found["difference"].value < 1e-6 < np.abs(enhance(wave, stft, mask_of(net))).max()
    frames = 0 if hasattr(net, "step") else 3 + 2  # the others look 3 ahead, and advance by as many
    assert found["delay"].value == pytest.approx(1000 * (50 + 20 * frames) / 16000)
