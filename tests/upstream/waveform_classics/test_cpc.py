"""Modified CPC alone."""

from __future__ import annotations

import pytest
import torch

from tests.upstream.waveform_classics.tiny import checkpoint, noise, tiny
from upstream.cpc.config import CpcConfig
from upstream.cpc.model import ChannelNorm, Context, CpcModel, frames_of, least_samples
from upstream.registry import build
from utility.errors import CheckpointError


def test_published_size():
    with torch.device("meta"):
        model = CpcModel(CpcConfig())
    assert sum(p.numel() for p in model.parameters()) == 1_843_456
    assert model.gAR.baseNet.weight_ih_l0.shape == (1024, 256) and model.gEncoder.batchNorm0.weight.shape == (1, 256, 1)


def test_whole_multiples_of_160_samples_give_as_many_frames():
    assert [frames_of(160 * frames) for frames in (1, 2, 99, 6000)] == [1, 2, 99, 6000]
    assert (frames_of(least_samples()), frames_of(least_samples() - 1)) == (1, 0)


def test_channel_norm_divides_by_one_channel_less():
    x = torch.randn(2, 5, 7)
    norm = ChannelNorm(5)
    wanted = (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True, correction=1) + 1e-5).sqrt()
    torch.testing.assert_close(norm(x), wanted)
    assert not torch.allclose(norm(x), torch.nn.functional.layer_norm(x.transpose(1, 2), (5,)).transpose(1, 2), atol=1e-2)


def test_reverse_runs_from_the_end():
    torch.manual_seed(0)
    context = Context(CpcConfig(4, 3, reverse=True))
    x = torch.randn(1, 9, 4)
    changed = x.clone()
    changed[:, 0] += 1
    ours, theirs = context(x), context(changed)
    assert torch.equal(ours[:, 1:], theirs[:, 1:]) and not torch.allclose(ours[:, 0], theirs[:, 0])


def test_sequential_sampling_keeps_no_state(tmp_path):
    entry, arguments = checkpoint("cpc", tmp_path)
    content = torch.load(arguments["ckpt"])
    content["config"]["samplingType"] = "sequential"
    torch.save(content, arguments["ckpt"])
    upstream, plain, wavs = build(entry, **arguments), tiny("cpc", tmp_path), noise(3000)
    upstream(wavs)
    assert torch.equal(upstream(wavs)["last_hidden_state"], plain(wavs)["last_hidden_state"])


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"arMode": "transformer"}, "config.arMode 'transformer' is not supported"),
        ({"normMode": "layernorm"}, "did you mean 'layerNorm'"),
        ({"encoder_type": "lfb"}, "config.encoder_type"),
        ({"cpc_mode": "bert"}, "config.cpc_mode"),
        ({"hiddenGar": 0}, "config.hiddenGar must be a positive whole number, not 0"),
        ({"nLevelsGRU": "1"}, "config.nLevelsGRU"),
    ],
)
def test_settings_that_are_not_supported(config, sentence):
    with pytest.raises(CheckpointError, match=sentence):
        CpcConfig.of(config, "x.pt")
