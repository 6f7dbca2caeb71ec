"""Each network of the registry: exported, quantised, streamed, measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from downstream.speech_enhancement.masking import enhance, mask_of
from downstream.speech_enhancement.models.registry import MODELS, build_model
from downstream.speech_enhancement.onnx.export import export
from downstream.speech_enhancement.onnx.footprint import footprint
from downstream.speech_enhancement.onnx.options import Quantization
from downstream.speech_enhancement.onnx.quantization import quantize
from downstream.speech_enhancement.onnx.session import OnnxMask
from downstream.speech_enhancement.onnx.stepped import export_step
from downstream.speech_enhancement.onnx.streamed import masks_of, measure
from utility.audio.stft import Stft, StftOptions
from utility.errors import ConfigError

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


@pytest.mark.parametrize("exported", [False, True])
def test_streamed_as_whole(net: nn.Module, tmp_path: Path, exported: bool):
    stft, wave = Stft(STFT), torch.from_numpy(np.random.default_rng(1).normal(0, 0.1, 1511)).float()
    step = tmp_path / "step.onnx"
    fresh = masks_of(net, mask_of(net), STFT.bins, None, None, step if exported else None)
    assert step.is_file() == (exported and hasattr(net, "step"))
    found = measure([wave], stft, mask_of(net), fresh)
    assert found["difference"].value < 1e-6 < np.abs(enhance(wave, stft, mask_of(net))).max()
    frames = 0 if hasattr(net, "step") else 3 + 2  # the others look 3 ahead, and advance by as many
    assert found["delay"].value == pytest.approx(1000 * (50 + 20 * frames) / 16000)


class Odd(nn.Module):
    """Sees no future; its step does what no file of a single step can repeat."""

    reach = 0

    def __init__(self, state: Any = None):
        super().__init__()
        self.state = state

    def forward(self, magnitudes: Tensor) -> Tensor:
        return self.step(magnitudes, None)[0]

    def step(self, magnitudes: Tensor, state: Any) -> tuple[Tensor, Any]:
        begin = torch.ones(1, 1, 1) if state is None else state  # not zeros
        sums = magnitudes.sum(1, keepdim=True).cumsum(2) + begin
        return (magnitudes / sums), (sums[..., -1:] if self.state is None else self.state)


@pytest.mark.parametrize(
    ("net", "said"), [(Odd(), "differs from the network by"), (Odd(torch.ones(1, 1, 1, dtype=torch.int64)), "more than tensors of 32-bit")]
)
def test_a_step_that_no_file_can_hold(net: nn.Module, said: str, tmp_path: Path, caplog):
    caplog.set_level("INFO")
    with pytest.raises(ConfigError, match=said):
        export_step(net, tmp_path / "step.onnx", STFT.bins)
    fresh = masks_of(net, mask_of(net), STFT.bins, None, None, tmp_path / "step.onnx")
    assert "step by step in PyTorch" in caplog.text
    assert fresh().push(np.ones((STFT.bins, 2), np.float32)).shape == (STFT.bins, 2)
    assert not list(tmp_path.iterdir())
