"""Every architecture: states, independence of the batch, train mode, gradients, short and long waveforms."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from torch import Tensor
from transformers import Wav2Vec2FeatureExtractor

from tests.upstream.hf.tiny import FEATURES, MODELS, WINDOW, save, waves
from upstream.interfaces import Featurizer
from upstream.registry import build
from utility.features.waves import WaveError
from utility.training.feature_store import fingerprint

CLOSE = {"rtol": 1e-4, "atol": 2e-5}
LENGTHS = (6100, 2600, 4520, 2600, 800)
EVERY = pytest.mark.parametrize("name", MODELS)


def made(saved, name: str, **options):
    return build("hf", ckpt=str(saved(name)[0]), **options)


def own(result: dict) -> list[list[Tensor]]:
    """The own frames of each item, of each state."""
    return [[state[i, :n] for state in result["hidden_states"]] for i, n in enumerate(result["lengths"].tolist())]


@EVERY
def test_states_are_those_of_transformers_with_the_final_norm(saved, ready, name):
    upstream, model = ready(name), saved(name)[1]
    (wav,) = waves(6100)
    with torch.no_grad():
        ours = upstream([wav])
        if name in FEATURES:
            inputs = FEATURES[name]()([wav.numpy()], sampling_rate=16000, return_tensors="pt", max_length=WINDOW)
            encoder = model.encoder if name == "whisper" else model
            theirs = encoder(inputs["input_features"], output_hidden_states=True)
        else:
            normal = (wav - wav.mean()) / torch.sqrt(wav.var(correction=0) + 1e-7)
            theirs = model(normal[None], output_hidden_states=True)
    frames = int(ours["lengths"])
    states = ours["hidden_states"]
    assert isinstance(states, tuple) and len(states) == 4 and states[-1] is ours["last_hidden_state"]
    assert {state.shape for state in states} == {(1, frames, 16)}
    if name == "xls-r":  # its adapter comes after the encoder
        torch.testing.assert_close(states[-1], model.encoder.layer_norm(theirs.hidden_states[-1]), **CLOSE)
    else:
        torch.testing.assert_close(states[-1], theirs.last_hidden_state[:, :frames], **CLOSE)
    for ours_, theirs_ in zip(states[:-1], theirs.hidden_states, strict=False):
        every = ours_[:, ::2][:, : theirs_.size(1)] if name.startswith("sew") else ours_  # its layers run at half the rate
        torch.testing.assert_close(every, theirs_[:, : every.size(1)], **CLOSE)


def test_quiet_waveforms_are_normalised_as_by_the_feature_extractor(ready, saved):
    """Where the floor of the variance counts."""
    (wav,) = waves(4000)
    quiet = 1e-2 * wav
    with torch.no_grad():
        ours = ready("hubert")([quiet])["last_hidden_state"]
        inputs = Wav2Vec2FeatureExtractor(do_normalize=True)(quiet.numpy(), sampling_rate=16000, return_tensors="pt")
        theirs = saved("hubert")[1](inputs.input_values).last_hidden_state
    torch.testing.assert_close(ours, theirs, **CLOSE)


@EVERY
def test_an_export_is_the_model_as_it_is_now(saved, tmp_path, name):
    upstream, batch = made(saved, name), waves(6100, 2600)
    with torch.no_grad():
        before = upstream(batch)["hidden_states"]
        for weight in upstream.parameters():
            weight.mul_(1.05)
        upstream.export(tmp_path)
        ours, theirs = (each(batch)["hidden_states"] for each in (upstream, build("hf", ckpt=str(tmp_path))))
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))
    assert any(not torch.equal(one, other) for one, other in zip(ours, before, strict=True))


def test_a_moved_folder_is_the_same_model(tmp_path):
    """Also to what knows features again, and it is exported after its folder is gone."""
    save("whisper", tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "other")
    one, other = (build("hf", ckpt=str(tmp_path / name)) for name in ("one", "other"))
    assert fingerprint(one, [], {}) == fingerprint(other, [], {})
    shutil.rmtree(tmp_path / "one")
    one.export(tmp_path / "written")
    assert json.loads((tmp_path / "written/preprocessor_config.json").read_text())["hop_length"] == 160


@EVERY
def test_padding_changes_nothing_where_batches_are_independent(saved, name):
    upstream, batch = made(saved, name, batch_independent=True), waves(*LENGTHS)
    assert upstream.batch_independent
    with torch.no_grad():
        together, alone = upstream(batch), [upstream([wav]) for wav in batch]
    assert together["lengths"].tolist() == [one["last_hidden_state"].size(1) for one in alone]
    for item, other in zip(own(together), alone, strict=True):
        for state, reference in zip(item, other["hidden_states"], strict=True):
            torch.testing.assert_close(state, reference[0], **CLOSE)


@pytest.mark.parametrize("name", ["wav2vec2-bert", "whisper"])
def test_some_are_independent_by_nature(ready, name):
    assert ready(name).batch_independent and not ready("wav2vec2").batch_independent


def test_a_mask_alone_serves_layer_norm_extractors(ready):
    """What the others' default does with padding is recorded; here nothing but the mask could hide it."""
    upstream, batch = ready("hubert"), waves(6100, 2600)
    with torch.no_grad():
        item, alone = own(upstream(batch))[1], upstream(batch[1:])["hidden_states"]
    for state, reference in zip(item, alone, strict=True):
        torch.testing.assert_close(state, reference[0], **CLOSE)


@EVERY
def test_train_mode_keeps_the_states_and_every_weight_learns(saved, name):
    upstream, batch = made(saved, name), waves(2600, 1900)
    assert not upstream.training
    with torch.no_grad():
        shapes = [state.shape for state in upstream(batch)["hidden_states"]]
    for _ in range(4):
        result = upstream.train()(batch)
        assert [state.shape for state in result["hidden_states"]] == shapes
    sum(state.square().mean() for state in result["hidden_states"]).backward()
    assert [n for n, p in upstream.named_parameters() if p.requires_grad and p.grad is None] == []
    assert [n for n, p in upstream.named_parameters() if not p.requires_grad] in ([], ["net.model.embed_positions.weight"])


@EVERY
def test_gradient_checkpointing_changes_no_gradient(saved, name):
    """The layers run a second time in the backward pass, with the same random numbers."""
    found, runs = [], []
    for on in (False, True):
        upstream = made(saved, name, gradient_checkpointing=on).train()
        layers = next(module for module in upstream.model.modules() if isinstance(module, torch.nn.ModuleList) and len(module) == 3)
        count: list[int] = []
        for layer in layers:
            inner = next(part for part in layer.modules() if isinstance(part, torch.nn.LayerNorm))
            inner.register_forward_pre_hook(lambda *_, count=count: count.append(1))
        torch.manual_seed(0)
        sum(state.square().mean() for state in upstream(waves(6100, 4520))["hidden_states"]).backward()
        found.append({key: weight.grad for key, weight in upstream.named_parameters() if weight.grad is not None})
        runs.append(len(count))
    assert found[0].keys() == found[1].keys()
    for key, gradient in found[0].items():
        torch.testing.assert_close(found[1][key], gradient, **CLOSE)
    assert runs == [3, 6], runs


@pytest.mark.parametrize("name", ["wav2vec2", "wav2vec2-bert", "whisper"])
def test_gradients_reach_the_waveform(ready, name):
    wav = waves(2600)[0].requires_grad_()
    ready(name)([wav])["last_hidden_state"].square().sum().backward()
    assert wav.grad.abs().max() > 0


@EVERY
def test_no_graph_and_no_random_number(saved, name):
    before = torch.get_rng_state()
    upstream = made(saved, name)
    with torch.no_grad():
        assert not any(state.requires_grad for state in upstream(waves(1000))["hidden_states"])
    assert torch.equal(before, torch.get_rng_state())
    assert not any("masked_spec_embed" in n or "adapter" in n for n, _ in upstream.named_parameters())


@pytest.mark.parametrize("name", ["wav2vec2", "wavlm", "sew", "wav2vec2-bert", "whisper"])
def test_short_and_long_waveforms(ready, name):
    upstream = ready(name)
    assert Featurizer(upstream).downsample_rate == 320
    with torch.no_grad():
        assert upstream(waves(800))["lengths"].tolist() == [{"whisper": 3, "wav2vec2-bert": 1}.get(name, 2)]
        long = upstream(waves(16000 * 60))["last_hidden_state"]
    assert abs(long.size(1) - 3000) <= 1 and torch.isfinite(long).all()


@EVERY
def test_too_short_ones_are_refused_by_their_index(ready, name):
    upstream = ready(name)
    least = upstream.net.least_samples
    with torch.no_grad():
        assert torch.isfinite(upstream(waves(least, 900))["last_hidden_state"]).all()
    with pytest.raises(WaveError, match=rf"item 1 .*, {least} are needed for one frame"):
        upstream([*waves(900), torch.zeros(least - 1)])


def test_whisper_reads_long_recordings_window_by_window(ready):
    upstream, (wav, other) = ready("whisper"), waves(2 * WINDOW + 3300, WINDOW)
    with torch.no_grad():
        whole, parts = upstream([wav, other]), [upstream([part])["hidden_states"][1] for part in wav.split(WINDOW)]
    assert whole["lengths"].tolist() == [111, 50]
    torch.testing.assert_close(whole["hidden_states"][1][0], torch.cat(parts, dim=1)[0], **CLOSE)
    assert not whole["last_hidden_state"][1, 50:].any()


def test_mel_features_are_those_of_the_feature_extractors(ready):
    batch = waves(6100, 2601)
    arrays = [wav.numpy() for wav in batch]
    ours, lengths = ready("wav2vec2-bert").net.features(batch)
    theirs = FEATURES["wav2vec2-bert"]()(arrays, sampling_rate=16000, return_tensors="pt")
    assert lengths == theirs["attention_mask"].sum(1).tolist()
    for index, n in enumerate(lengths):
        torch.testing.assert_close(ours[index, :n], theirs["input_features"][index, :n], rtol=1e-3, atol=1e-3)
    padded = torch.nn.utils.rnn.pad_sequence([*batch, torch.zeros(WINDOW)], batch_first=True)[:2]
    theirs = FEATURES["whisper"]()(arrays, sampling_rate=16000, return_tensors="pt", max_length=WINDOW)["input_features"]
    torch.testing.assert_close(ready("whisper").net.features(padded), theirs, rtol=1e-4, atol=1e-4)
