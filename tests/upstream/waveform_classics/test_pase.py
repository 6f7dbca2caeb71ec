"""PASE and PASE+ alone."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from tests.upstream.waveform_classics.tiny import PASE, checkpoint, noise, tiny
from upstream.pase.config import PaseConfig, pase_config, read_pase_config
from upstream.pase.model import PaseModel, frames_of, least_samples
from upstream.pase.qrnn import leaky_sum
from upstream.pase.sinc import SincConv
from upstream.registry import build
from utility.errors import ConfigError

FOLDER = Path(__file__).resolve().parents[3] / "upstream" / "pase"


def test_published_sizes():
    with torch.device("meta"):
        plus, plain = (PaseModel(read_pase_config(FOLDER / name)) for name in ("pase_plus.yaml", "pase.yaml"))
    assert sum(p.numel() for p in plus.parameters()) == 7_832_896  # 7.83 M in SUPERB
    assert plus.rnn.layers[0].linear.weight.shape == (1536, 1024) and plain.W.weight.shape == (100, 512, 1)
    assert len(plus.denseskips) == 7 and len(plain.denseskips) == 0


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 9, 10, 37])
def test_leaky_sum_is_the_recurrence(frames):
    gain = torch.randn(2, frames, 3, dtype=torch.double, requires_grad=True)
    keep = torch.rand(2, frames, 3, dtype=torch.double, requires_grad=True)
    state, wanted = torch.zeros(2, 3, dtype=torch.double), []
    for t in range(frames):
        state = gain[:, t] + keep[:, t] * state
        wanted.append(state)
    ours, theirs = leaky_sum(gain, keep), torch.stack(wanted, 1)
    torch.testing.assert_close(ours, theirs)
    weights = torch.randn_like(ours)
    for a, b in zip(*(torch.autograd.grad((weights * x).sum(), (gain, keep)) for x in (ours, theirs)), strict=True):
        torch.testing.assert_close(a, b)


def test_filters_begin_evenly_on_the_mel_scale():
    bank = SincConv(64, 251, 16000)
    edges = torch.cat([bank.low_hz_, bank.low_hz_[-1:] + bank.band_hz_[-1:]]).flatten().detach()
    mel = 2595 * torch.log10(1 + edges / 700)
    torch.testing.assert_close(mel.diff(), torch.full((64,), float(mel[-1] - mel[0]) / 64), rtol=1e-3, atol=1e-2)
    assert float(edges[0]) == pytest.approx(30, abs=0.01) and float(edges[-1]) == pytest.approx(7900, abs=1)
    filters = bank.filters()
    assert filters.shape == (64, 1, 251) and torch.equal(filters, filters.flip(2)) and (filters[:, 0, 125] == 1).all()


def test_a_filter_passes_its_band():
    bank = SincConv(1, 251, 16000)
    bank.low_hz_.data.fill_(950.0)
    bank.band_hz_.data.fill_(950.0)  # 1000 to 2000 Hz
    seconds = torch.arange(16000) / 16000
    with torch.no_grad():
        power = {hz: float(bank(torch.sin(2 * math.pi * hz * seconds)[None, None]).pow(2).mean()) for hz in (500, 1500, 3000)}
    assert power[1500] > 1000 * power[500] and power[1500] > 1000 * power[3000]


def test_frames():
    config = PaseConfig()
    assert [frames_of(16000 * seconds, config)[-1] for seconds in (1, 2)] == [100, 200]
    assert frames_of(least_samples(config), config)[-1] > 0 and frames_of(least_samples(config) - 1, config)[-1] == 0


def test_skips_are_projected_before_or_after_pooling_alike(tmp_path):
    model, wavs = tiny("pase", tmp_path).model, torch.stack(noise(4000))
    with torch.no_grad():
        states = model(wavs)
        skip = model.denseskips[0](model.blocks[0](wavs[:, None]))
    frames = states[-1].size(1)
    pooled = F.avg_pool1d(skip, skip.size(2) // frames)[:, :, :frames]
    torch.testing.assert_close(states[0], pooled.transpose(1, 2), rtol=1e-4, atol=1e-6)


def test_plain_pase_has_two_states(tmp_path):
    config = {key: value for key, value in PASE.items() if key not in ("denseskips", "rnn_pool", "rnn_dim")}
    torch.manual_seed(0)
    torch.save(PaseModel(pase_config(config, "x")).state_dict(), tmp_path / "bare.ckpt")
    text = "\n".join(f"{key}: {value}" for key, value in config.items())
    (tmp_path / "pase.yaml").write_text(text)
    result = build("pase_local", ckpt=str(tmp_path / "bare.ckpt"), model_config=str(tmp_path / "pase.yaml")).eval()(noise(4000))
    assert [state.shape for state in result["hidden_states"]] == [(1, 25, 5)] * 2


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"rnn_dims": 3}, "unknown field rnn_dims; did you mean 'rnn_dim'"),
        ({"kwidths": [31, 20]}, "the same length"),
        ({"kwidths": [30, 20, 11, 11]}, "odd kwidths"),
        ({"strides": [1, 10, 0, 4]}, "strides must be a list of positive"),
        ({"emb_dim": "5"}, "emb_dim must be a positive whole number"),
        ({"norm_out": 1}, "norm_out must be true or false"),
        ({"rnn_dropout": 1.0}, "rnn_dropout"),
        ({"rnn_type": "lstm"}, "rnn_type 'lstm' is not supported, only 'qrnn'"),
        ({"sincnet": False, "norm_type": "inorm"}, "sincnet False .*; norm_type 'inorm'"),
    ],
)
def test_wrong_configs_are_one_sentence(change, sentence):
    with pytest.raises(ConfigError, match=sentence):
        pase_config({**PASE, **change}, "x.cfg")


def test_an_unreadable_config_is_one_sentence(tmp_path):
    entry, arguments = checkpoint("pase", tmp_path)
    for text in ("[1, 2]", "{", ""):
        Path(arguments["model_config"]).write_text(text)
        with pytest.raises(ConfigError, match=r"pase\.cfg"):
            build(entry, **arguments)
