"""Long recordings in pieces: the same as whole ones, in little memory."""

from __future__ import annotations

import logging
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from downstream.speech_enhancement import long
from downstream.speech_enhancement.expert import DownstreamExpert
from downstream.speech_enhancement.models.registry import build_model
from tests.downstream.speech_enhancement.onnx.test_networks import SMALL
from tests.downstream.speech_enhancement.test_enhancement_expert import make
from utility.audio.io import audio_info, load_channels, save_audio
from utility.errors import DataError


def expert_with(place: Path, name: str, **changed: dict) -> DownstreamExpert:
    expert = make(place, changed=changed).eval()
    torch.manual_seed(0)
    expert.model = build_model(name, SMALL[name], expert.stft.options.bins).eval()
    for module in expert.model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.normal_(module.bias)
    return expert


def answered(expert: DownstreamExpert, path: Path) -> np.ndarray:
    expert.pieces(expert.load_audio(str(path)))
    (answer,) = expert.inference([], [path.stem])
    return load_channels(answer["enhanced"])[0]


@pytest.fixture
def short_pieces(monkeypatch):
    monkeypatch.setattr(long, "LONG_S", 1.0)
    monkeypatch.setattr(long, "_PIECE_S", 0.37)
    monkeypatch.setattr(long, "_PICTURE_S", 0.5)
    monkeypatch.setattr("downstream.speech_enhancement.onnx.streamed.MOST", 40)


@pytest.mark.parametrize(
    ("name", "rate", "special"),
    [("STFTTCNN", 16000, False), ("STFTTCNN", 44100, True), ("ConvLSTMDenoiser", 8000, False), ("BandGRU", 44100, False)],
)
def test_as_the_whole_recording(tmp_path, monkeypatch, short_pieces, name, rate, special):
    """``special``: with peak normalisation and pictures."""
    expert = expert_with(tmp_path / "run", name, preprocessing={"peak_normalize": special}, inference={"spectrograms": special})
    rng = np.random.default_rng(0)
    samples = (rng.normal(0, 0.1, (int(2.3 * rate) + 77, 2)) * [1, 0.3]).astype(np.float32)
    save_audio(tmp_path / "two.wav", samples, rate, "FLOAT")
    found = answered(expert, tmp_path / "two.wav")
    assert sorted(path.name for path in (tmp_path / "run/enhanced").iterdir()) == ["two.png"] * special + ["two.wav"]
    monkeypatch.setattr(long, "LONG_S", 60.0)
    whole = answered(expert, tmp_path / "two.wav")
    assert found.shape == whole.shape == samples.shape
    assert np.abs(found - whole).max() <= 1 / 32768  # both were rounded to 16 bits
    assert np.abs(whole).max() > 0.01


def test_networks_that_see_everything_get_so_much(tmp_path, monkeypatch, short_pieces, caplog):
    expert = expert_with(tmp_path / "run", "LSTMDenoiser")
    expert.model = build_model("LSTMDenoiser", {"hidden_size": 8, "bidirectional": True}, 257).eval()
    monkeypatch.setattr(long, "MOST", 3)
    monkeypatch.setattr("downstream.speech_enhancement.onnx.streamed.MOST", 3)
    save_audio(tmp_path / "noise.wav", np.random.default_rng(0).normal(0, 0.1, 32000).astype(np.float32), 16000)
    with caplog.at_level(logging.WARNING):
        assert len(answered(expert, tmp_path / "noise.wav")) == 32000
    assert "LSTMDenoiser sees whole recordings: of long ones, each piece has 0.0 s around it" in caplog.text


def test_what_the_network_says_of_its_reach_is_so():
    from downstream.speech_enhancement.masking import mask_of
    from downstream.speech_enhancement.onnx.streaming import reach

    for options, frames in (({}, 3), ({"n_blocks": 2, "kernel_size": 5}, 12), ({"init_dilation": 3, "num_layers": 3}, 13)):
        model = build_model("STFTTCNN", {"tcn_latent_dim": 16, "n_blocks": 1, "num_layers": 2} | options, 33).eval()
        assert reach(mask_of(model), 33, 40) == (frames, frames)
        assert model.reach == frames


def test_memory_does_not_grow(tmp_path, monkeypatch):
    """Measured of numpy's arrays, with a mask of ones."""
    monkeypatch.setattr(long, "_PIECE_S", 4.0)
    expert = expert_with(tmp_path / "run", "STFTTCNN")
    expert.model.forward = torch.ones_like
    peaks = []
    for seconds in (20, 80):
        save_audio(tmp_path / "hum.wav", np.tile(np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32), seconds), 16000)
        recording = long.LongRecording(str(tmp_path / "hum.wav"), audio_info(tmp_path / "hum.wav"))
        tracemalloc.start()
        recording.enhance(expert.model, expert.checked.stft, tmp_path / "out.wav", picture=False)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
    found, given = (load_channels(tmp_path / name)[0] for name in ("out.wav", "hum.wav"))
    assert np.abs(found - given).max() <= 1 / 32768


def test_what_fails_leaves_nothing(tmp_path, short_pieces):
    expert = expert_with(tmp_path / "run", "STFTTCNN")
    samples = np.zeros(32000, np.float32)
    samples[30000] = np.nan
    save = tmp_path / "nan.wav"
    save_audio(save, np.zeros(32000), 16000, "FLOAT")
    raw = bytearray(save.read_bytes())
    raw[-len(samples.tobytes()) :] = samples.tobytes()
    save.write_bytes(raw)
    with pytest.raises(DataError, match=r"nan\.wav holds NaN"):
        answered(expert, save)
    assert list((tmp_path / "run/enhanced").iterdir()) == []
