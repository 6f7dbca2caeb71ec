"""What CPC, PASE, wav2vec and vq-wav2vec have in common, on tiny nets."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.upstream.waveform_classics.tiny import NETS, STATES, checkpoint, net, noise, tiny
from upstream.registry import available, build, find
from utility.errors import CheckpointError, DataError, UsageError

NAMES = {
    "cpc": ["cpc_local", "cpc_url", "modified_cpc"],
    "pase": ["pase_local", "pase_plus", "pase_url"],
    "wav2vec": [
        *["vq_wav2vec", "vq_wav2vec_custom", "vq_wav2vec_gumbel", "vq_wav2vec_kmeans", "vq_wav2vec_local", "vq_wav2vec_url"],
        *["wav2vec", "wav2vec_custom", "wav2vec_large", "wav2vec_local", "wav2vec_url"],
    ],
}
EVERY = pytest.mark.parametrize("name", NETS)


@pytest.mark.parametrize("folder", NAMES)
def test_all_names_are_there(folder):
    assert sorted(name for name in available() if find(name).folder.name == folder) == NAMES[folder]
    for name in NAMES[folder]:
        entry = find(name)
        own = name.endswith(("_local", "_url", "_custom"))
        assert entry.needs == (("ckpt",) if own else ()) and ("ckpt" in entry.kwargs) is not own
        assert own or (entry.record.hidden_sizes and entry.record.downsample_rate == 160)
        if own:
            with pytest.raises(UsageError, match="ckpt"):
                build(name)


@EVERY
def test_batch_independent_equals_one_by_one(name, tmp_path):
    wavs = noise(4000, 2600, 4000, 7013, 2600)
    published, independent = tiny(name, tmp_path), tiny(name, tmp_path, batch_independent=True)
    assert (published.batch_independent, independent.batch_independent) == (False, True)
    for mode in (False, True):
        independent.train(mode)
        with torch.no_grad():
            together, padded = independent(wavs), published(wavs)
            alone = [independent([wav]) for wav in wavs]
        assert together["lengths"].tolist() == padded["lengths"].tolist() == [len(one["last_hidden_state"][0]) for one in alone]
        for index, one in enumerate(alone):
            frames = int(together["lengths"][index])
            for ours, own in zip(together["hidden_states"], one["hidden_states"], strict=True):
                torch.testing.assert_close(ours[index, :frames], own[0], rtol=1e-4, atol=1e-5)
                assert not ours[index, frames:].any()
            if "codeids" in one:
                assert torch.equal(together["codeids"][index, :frames], one["codeids"][0])
    short = int(alone[1]["lengths"])
    assert not torch.allclose(padded["last_hidden_state"][1, :short], alone[1]["last_hidden_state"][0], atol=1e-4), "padding did not matter"


@EVERY
def test_training_mode_gives_the_same_states_and_gradients_flow(name, tmp_path):
    upstream = tiny(name, tmp_path).train()
    result = upstream(noise(4000, 3000))
    assert len(result["hidden_states"]) == STATES[name] and result["hidden_states"][-1] is result["last_hidden_state"]
    generator = torch.Generator().manual_seed(3)
    sum((torch.randn(state.shape, generator=generator) * state).sum() for state in result["hidden_states"]).backward()
    without = {key for key, value in upstream.named_parameters() if value.grad is None or not value.grad.any()}
    assert without <= {"model.vector_quantizer.embedding"}, "the k-means codebook is found by its distances and has no gradient"
    assert (name == "kmeans") is bool(without)


@EVERY
def test_frozen_use_builds_no_graph_and_leaves_no_trace(name, tmp_path):
    upstream, wavs = tiny(name, tmp_path), noise(4000, 3000)
    before = {key: value.clone() for key, value in upstream.state_dict().items()}
    with torch.no_grad():
        first, second = upstream(wavs), upstream(wavs)
    assert not any(state.requires_grad for state in first["hidden_states"])
    assert all(torch.equal(a, b) for a, b in zip(first["hidden_states"], second["hidden_states"], strict=True))
    assert all(torch.equal(value, before[key]) for key, value in upstream.state_dict().items())


@EVERY
def test_short_and_long_inputs(name, tmp_path):
    upstream = tiny(name, tmp_path)
    with torch.no_grad():
        frames = [upstream(noise(seconds * 16000 // 20))["last_hidden_state"].size(1) for seconds in (1, 1200)]
    assert frames[0] in (3, 4, 5) and frames[1] in (5998, 6000)
    assert upstream(noise(800, 6000))["lengths"].tolist()[0] == frames[0]
    with pytest.raises(DataError, match="item 1 of the batch: 90 samples are too short"):
        upstream(noise(800, 90))


@EVERY
def test_the_least_length_gives_a_frame(name, tmp_path):
    upstream = tiny(name, tmp_path)
    with pytest.raises(DataError) as caught:
        upstream(noise(1))
    least = int(str(caught.value).split("too short, ")[1].split()[0])
    assert upstream(noise(least))["lengths"].tolist()[0] >= 1
    with pytest.raises(DataError, match=f"{least} are needed"):
        upstream(noise(least - 1))


@EVERY
def test_states_are_the_nets(name, tmp_path):
    """What the expert returns is the net's with the file's weights; nothing of the file is lost."""
    upstream, wav = tiny(name, tmp_path), noise(4000)[0]
    with torch.no_grad():
        theirs = net(name)(wav[None])
        ours = upstream([wav])["hidden_states"]
    theirs = theirs["hidden_states"] if isinstance(theirs, dict) else theirs
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


FIRST = {"cpc": "gEncoder.conv0.bias", "pase": "blocks.1.conv.bias", "wav2vec": "feature_extractor.conv_layers.0.2.bias"}


@pytest.mark.parametrize("name", FIRST)
def test_weights_that_do_not_fit_are_one_sentence(name, tmp_path):
    entry, arguments = checkpoint(name, tmp_path, {FIRST[name]: None})
    with pytest.raises(CheckpointError, match=f"{name}.pt do not fit: it lacks {FIRST[name]}"):
        build(entry, **arguments)
    entry, arguments = checkpoint(name, tmp_path, {FIRST[name]: torch.ones(99)})
    with pytest.raises(CheckpointError, match=rf"{FIRST[name]} is \(99,\), not"):
        build(entry, **arguments)


@pytest.mark.parametrize("name", FIRST)
@pytest.mark.parametrize("content", [{"Transformer": {"w": torch.ones(1)}}, {}, {"weights": 3, "config": 4}, {"state_dict": 5}])
def test_foreign_files_are_one_sentence(name, content, tmp_path):
    entry, arguments = checkpoint(name, tmp_path)
    torch.save(content, arguments["ckpt"])
    with pytest.raises(CheckpointError, match=r"is no .*checkpoint"):
        build(entry, **arguments)


@pytest.mark.parametrize("name", FIRST)
def test_damaged_and_missing_files_are_one_sentence(name, tmp_path):
    entry, arguments = checkpoint(name, tmp_path)
    path = Path(arguments["ckpt"])
    path.write_bytes(path.read_bytes()[:-700])
    with pytest.raises(CheckpointError, match=path.name):
        build(entry, **arguments)
    path.unlink()
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        build(entry, **arguments)
