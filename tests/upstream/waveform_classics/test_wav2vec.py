"""wav2vec 1.0 and vq-wav2vec alone."""

from __future__ import annotations

from argparse import Namespace

import pytest
import torch

from tests.upstream.waveform_classics.tiny import NETS, WAV2VEC, net, noise, tiny
from upstream.blocks.fairseq_files import FairseqModel
from upstream.blocks.wav2vec_config import Wav2VecConfig, wav2vec_config
from upstream.blocks.wav2vec_model import Wav2VecModel
from upstream.blocks.wav2vec_quantizer import GumbelQuantizer, KmeansQuantizer
from upstream.registry import build
from utility.errors import CheckpointError


def config_of(form: str = "converted", **settings) -> Wav2VecConfig:
    return wav2vec_config(FairseqModel(settings, {}, {}, form), "x.pt")


HEAD = 512 * 512 * 12 + 512
LAYERS = "[(512, 10, 5), (512, 8, 4)] + [(512, 4, 2)] * 3 + [(512, 1, 1)] * 3"


@pytest.mark.parametrize(
    ("settings", "millions"),
    [({}, 32.54), ({"conv_feature_layers": LAYERS, "vq_type": "gumbel", "vq_depth": 2, "activation": "gelu"}, 34.15)],
)
def test_sizes_that_superb_quotes(settings, millions):
    """With the prediction head, which lies in the checkpoint and is not read. 34.15 M needs a codebook for each group."""
    with torch.device("meta"):
        model = Wav2VecModel(config_of(**settings))
    assert round((sum(p.numel() for p in model.parameters()) + HEAD) / 1e6, 2) == millions
    assert len(model.feature_aggregator.conv_layers) == 12


def test_old_files_have_other_defaults():
    old, new = config_of("args"), config_of("cfg")
    assert (old.log_compression, old.skip_connections_agg, len(old.conv_aggregator_layers)) == (False, False, 9)
    assert (new.log_compression, new.skip_connections_agg, len(new.conv_aggregator_layers)) == (True, True, 12)
    assert old.conv_feature_layers == new.conv_feature_layers and new.rate == 160
    said = config_of("args", log_compression=True, conv_aggregator_layers="[(512, 5, 1)]", vq_dim=None)
    assert said.log_compression and said.conv_aggregator_layers == [(512, 5, 1)] and said.vq_dim == 0


def test_one_net_from_all_layouts(tmp_path):
    weights, wavs = net("wav2vec").state_dict(), noise(3000)
    wanted = tiny("wav2vec", tmp_path)(wavs)["last_hidden_state"]
    settings = {**WAV2VEC, "log_compression": True, "skip_connections_agg": True}
    layouts = {
        "args": {"args": Namespace(arch="wav2vec", **settings), "model": weights},
        "cfg": {"args": None, "cfg": {"model": {"_name": "wav2vec", **WAV2VEC}, "task": {}}, "model": weights},
    }
    for name, content in layouts.items():
        torch.save(content, tmp_path / name)
        assert torch.equal(build("wav2vec_local", ckpt=str(tmp_path / name)).eval()(wavs)["last_hidden_state"], wanted)
    torch.save({"args": Namespace(**WAV2VEC), "model": weights}, tmp_path / "old")
    assert not torch.allclose(build("wav2vec_local", ckpt=str(tmp_path / "old")).eval()(wavs)["last_hidden_state"], wanted)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"_name": "wav2vec2"}, "x.pt holds a model of the kind 'wav2vec2'; this upstream reads 'wav2vec'"),
        ({"arch": "roberta_base"}, "the kind 'roberta_base'"),
        ({"aggregator": "gru"}, "aggregator 'gru' is not supported"),
        ({"vq_type": "gumble"}, "did you mean 'gumbel'"),
        ({"skip_connections_feat": True}, "skip_connections_feat True is not supported"),
        ({"no_conv_bias": "yes"}, "no_conv_bias must be bool, not 'yes'"),
        ({"conv_aggregator_layers": "[(512, 3, 2)]"}, "strides other than 1"),
        ({"conv_aggregator_layers": "[(256, 3, 1)]"}, r"different widths \(256, 512\)"),
        ({"conv_feature_layers": "eval('1')"}, "conv_feature_layers .* is no list of layers"),
        ({"vq_type": "kmeans", "vq_groups": 3}, "3 groups cannot be 512 wide"),
        ({"dropout_features": -0.5, "dropout_agg": 3.0}, "dropout_features must be 0 or more and below 1, not -0.5; dropout_agg"),
        ({"residual_scale": -1.0}, "residual_scale must be 0 or more, not -1.0"),
        ({"residual_scale": float("nan")}, "residual_scale must be 0 or more, not nan"),
        ({"vq_type": "kmeans", "vq_vars": 0}, "vq_vars must be positive"),
    ],
)
def test_settings_that_are_not_supported(settings, sentence):
    with pytest.raises(CheckpointError, match=sentence):
        config_of(**settings)


@pytest.mark.parametrize("shared", [True, False])
def test_gumbel_picks_the_most_probable_entry_of_each_group(shared):
    torch.manual_seed(0)
    book = GumbelQuantizer(config_of(**{**NETS["gumbel"], "combine_groups": shared})).eval()
    assert book.vars.shape == (1, 10 if shared else 20, 4)
    z = torch.randn(2, 5, 8)
    words, codes = book(z)
    logits = book.weight_proj(z)
    for group in range(2):
        assert torch.equal(codes[..., group], logits[..., 10 * group : 10 * group + 10].argmax(-1))
        first = 0 if shared else 10 * group
        assert torch.equal(words[..., 4 * group : 4 * group + 4], book.vars[0, first + codes[..., group]])
    in_training, same = book.train()(z)
    assert torch.equal(same, codes)
    torch.testing.assert_close(in_training, words)


@pytest.mark.parametrize("shared", [True, False])
def test_kmeans_picks_the_nearest_entry_of_each_group(shared):
    torch.manual_seed(0)
    book = KmeansQuantizer(config_of(**{**NETS["kmeans"], "combine_groups": shared}))
    book.embedding.data.normal_()
    assert book.embedding.shape == (10, 1 if shared else 2, 4)
    z = torch.randn(2, 5, 8)
    words, codes = book(z)
    projected = book.projection(z.transpose(1, 2)).transpose(1, 2)
    for group in range(2):
        part, entries = projected[..., 4 * group : 4 * group + 4], book.embedding[:, 0 if shared else group]
        nearest = (part[:, :, None] - entries).norm(dim=3).argmin(2)
        assert torch.equal(codes[..., group], nearest)
        torch.testing.assert_close(words[..., 4 * group : 4 * group + 4], entries[nearest])


def test_an_aggregated_frame_is_no_function_of_later_frames_but_for_the_norm(tmp_path):
    """The convolutions are causal; the norms, over all frames, are not (a trap of the original)."""
    layer = tiny("wav2vec", tmp_path).model.feature_aggregator.conv_layers[2]
    x = torch.randn(1, 8, 20)
    changed = x.clone()
    changed[:, :, 12:] += 1
    before, after = layer[1](layer[0](x)), layer[1](layer[0](changed))
    assert torch.equal(before[:, :, :12], after[:, :, :12]) and before.shape == x.shape
    assert not torch.allclose(layer(x)[:, :, :12], layer(changed)[:, :, :12])


def test_other_keys(tmp_path):
    result = tiny("gumbel", tmp_path)(noise(3000, 2000))
    assert result["codeids"].shape == (2, result["z"].size(1), 2) and not result["codeids"].is_floating_point()
    assert result["z"] is result["hidden_states"][0] and result["c"] is result["default"] is result["last_hidden_state"]
    assert "codeids" not in tiny("wav2vec", tmp_path)(noise(3000))
