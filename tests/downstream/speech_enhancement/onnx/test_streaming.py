"""Streamed enhancement equals that of the whole recording; overlap-add against recorded values; delays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from downstream.speech_enhancement.masking import enhance, mask_of
from downstream.speech_enhancement.models.tcnn import STFTTCNN
from downstream.speech_enhancement.onnx.export import export
from downstream.speech_enhancement.onnx.overlap import overlap_add
from downstream.speech_enhancement.onnx.session import OnnxMask
from downstream.speech_enhancement.onnx.streamed import masks_of
from downstream.speech_enhancement.onnx.streaming import PatchMasks, StepMasks, Streamer, reach
from utility.audio.stft import Stft, StftOptions
from utility.errors import ConfigError, ToolkitError

SMALL = StftOptions(n_fft=64, hop_length=20, win_length=50)


def test_recorded_overlap_add(golden):
    recorded = np.load(golden("enhancement/overlap_add") / "io.npz")
    frames, hann = recorded["frames"], np.hanning(101)[:-1]
    np.testing.assert_allclose(overlap_add(frames, 40), recorded["ola"], rtol=1e-9, atol=1e-12)
    with_window = overlap_add(frames, 40, hann)
    assert with_window[0] == 0  # where the window is zero; the recorded result leaves it out
    np.testing.assert_allclose(with_window[1:], recorded["ola_hann"], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(overlap_add(frames, 40, length=1100), recorded["ola_padded"], rtol=1e-9, atol=1e-12)
    assert len(overlap_add(frames, 40, length=500)) == 500


@pytest.fixture(scope="module")
def net() -> nn.Module:
    """Looks 6 frames to each side; its normalisations move, so that frames of zeros are no padding."""
    torch.manual_seed(0)
    model = STFTTCNN(33, 16, 2, 2, mask_activation="sigmoid").eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.normal_(module.bias)
    return model


def wave(samples: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(0, 0.1, samples)).float()


def streamed(samples: np.ndarray, streamer: Streamer, pieces: int) -> np.ndarray:
    found = [streamer.feed(samples[start : start + pieces]) for start in range(0, len(samples), pieces)]
    return np.concatenate([*found, streamer.finish()])


@pytest.mark.parametrize("pieces", [7, 20, 333, 5000])
@pytest.mark.parametrize("samples", [3000, 3019, 30, 3])
def test_equal_to_the_whole_recording(net: nn.Module, samples: int, pieces: int):
    given, stft, mask = wave(samples), Stft(SMALL), mask_of(net)
    whole = enhance(given, stft, mask) if samples >= 20 else np.zeros(0)
    found = streamed(given.numpy(), Streamer(stft, PatchMasks(mask, 4, 6)), pieces)
    assert len(found) == len(whole)
    np.testing.assert_allclose(found, whole, atol=1e-6)


@pytest.mark.parametrize("options", [StftOptions(), StftOptions(window="hamming", power=0.5, n_fft=511, win_length=301, hop_length=100)])
def test_other_transforms(options: StftOptions):
    torch.manual_seed(0)
    stft, mask = Stft(options), mask_of(STFTTCNN(options.bins, 8, 1, 1).eval())
    given = wave(4000)
    found = streamed(given.numpy(), Streamer(stft, PatchMasks(mask, 3, 1)), 160)
    np.testing.assert_allclose(found, enhance(given, stft, mask), atol=1e-5)


def test_too_little_lookahead_differs(net: nn.Module):
    given, stft, mask = wave(3000), Stft(SMALL), mask_of(net)
    assert reach(mask, 33, 40) == (6, 6)
    found = streamed(given.numpy(), Streamer(stft, PatchMasks(mask, 4, 3)), 100)
    assert np.abs(found - enhance(given, stft, mask)).max() > 1e-4


def test_a_fixed_length_is_equal_away_from_the_ends(net: nn.Module, tmp_path: Path):
    given, stft, mask = wave(3000), Stft(SMALL), OnnxMask(export(net, tmp_path / "a.onnx", 33), 33)
    lengths = set()

    def fixed(magnitudes: np.ndarray) -> np.ndarray:
        lengths.add(magnitudes.shape)
        return mask(magnitudes)

    found, whole = streamed(given.numpy(), Streamer(stft, PatchMasks(fixed, 4, 6, fixed=True)), 100), enhance(given, stft, mask)
    assert lengths == {(1, 33, 16)}
    assert len(found) == len(whole)
    away = slice(9 * 20, -9 * 20)
    np.testing.assert_allclose(found[away], whole[away], atol=1e-6)
    assert np.abs(found - whole).max() > 1e-4


class Causal(nn.Module):
    """An LSTM with its state in the open."""

    def __init__(self):
        super().__init__()
        self.lstm, self.out = nn.LSTM(33, 8, batch_first=True), nn.Linear(8, 33)

    def step(self, x: torch.Tensor, state: tuple | None) -> tuple[torch.Tensor, tuple]:
        states, state = self.lstm(x.transpose(1, 2), state)
        return self.out(states).transpose(1, 2).sigmoid(), state

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.step(x, None)[0]


def test_frame_by_frame():
    torch.manual_seed(0)
    model, stft, given = Causal(), Stft(SMALL), wave(2000)
    assert reach(mask_of(model), 33, 40) == (40, 0)

    def step(frame: np.ndarray, state: tuple | None) -> tuple[np.ndarray, tuple]:
        with torch.no_grad():
            mask, state = model.step(torch.from_numpy(frame), state)
        return mask.numpy(), state

    streamer = Streamer(stft, StepMasks(step))
    assert streamer.delay == 50
    np.testing.assert_allclose(streamed(given.numpy(), streamer, 20), enhance(given, stft, mask_of(model)), atol=1e-6)


class Backwards(nn.Module):
    """Sees two frames of the past and one of the future."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(33, 33, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(nn.functional.pad(x, (2, 1))).sigmoid()


def test_history_and_lookahead_apart():
    torch.manual_seed(0)
    stft, mask, given = Stft(SMALL), mask_of(Backwards()), wave(1000)
    assert reach(mask, 33, 40) == (2, 1)
    whole = enhance(given, stft, mask)
    np.testing.assert_allclose(streamed(given.numpy(), Streamer(stft, PatchMasks(mask, 1, 1, 2)), 20), whole, atol=1e-6)
    assert np.abs(streamed(given.numpy(), Streamer(stft, PatchMasks(mask, 1, 1, 1)), 20) - whole).max() > 1e-4


def test_a_long_memory_needs_steps():
    class Sum(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.cumsum(-1)

    with pytest.raises(ToolkitError, match="Sum sees 400 frames and more, and has no method step"):
        masks_of(Sum(), mask_of(Sum()), 5, None, None)


def test_no_sample_waits_longer_than_the_delay(net: nn.Module):
    streamer = Streamer(Stft(SMALL), PatchMasks(mask_of(net), 4, 6))
    assert streamer.delay == 50 + (6 + 3) * 20
    given, out, worst = wave(3000).numpy(), 0, 0
    for sample in range(3000):
        worst = max(worst, sample - out)
        out += len(streamer.feed(given[sample : sample + 1]))
    assert streamer.delay - 20 < worst <= streamer.delay


def test_transforms_that_cannot_be_streamed():
    with pytest.raises(ConfigError, match="center: False has no inverse; peak_normalize: True needs the whole recording"):
        Streamer(Stft(StftOptions(center=False, peak_normalize=True)), StepMasks(lambda frame, state: (frame, state)))
