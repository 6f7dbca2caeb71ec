"""Models that do not fit, of other kinds, pickled, in pieces, or not to be had: what is read and what is one sentence."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from tests.upstream.hf import tiny
from upstream.registry import build, find
from utility.errors import CheckpointError, UsageError


@pytest.fixture
def folder(saved, tmp_path) -> Path:
    """A copy of a model to be spoilt."""
    return Path(shutil.copytree(saved("hubert")[0], tmp_path / "model"))


def refused(ckpt: Path | str, entry: str = "hf", **options) -> str:
    with pytest.raises(CheckpointError) as caught:
        build(entry, ckpt=str(ckpt), **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def edit(path: Path, **changes) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def state(folder: Path) -> torch.Tensor:
    with torch.no_grad():
        return build("hf", ckpt=str(folder))(tiny.waves(1000))["last_hidden_state"]


@pytest.fixture
def reference(saved) -> torch.Tensor:
    return state(saved("hubert")[0])


def test_the_names_and_what_they_need():
    for name in ("hf", "hf_wav2vec2_custom", "hf_hubert_custom"):
        assert find(name).needs == ("ckpt",) and find(name).record.downsample_rate == 320


def test_a_model_for_text_and_one_of_another_kind(saved, tmp_path):
    transformers.BertConfig().save_pretrained(tmp_path)
    assert "is a model of type 'bert', no speech encoder that is known" in refused(tmp_path)
    assert "'hubert', not 'wav2vec2'; -u hf takes it" in refused(saved("hubert")[0], "hf_wav2vec2_custom")
    with pytest.raises(UsageError, match=r"unknown model type 'wav2vec'; did you mean 'wav2vec2'"):
        build("hf", ckpt=str(saved("hubert")[0]), only="wav2vec")


def test_a_config_of_ours_has_no_place(saved):
    with pytest.raises(UsageError, match=r"takes no config \(-g c.yaml\)"):
        build("hf", ckpt=str(saved("hubert")[0]), model_config="c.yaml")


def test_files_that_are_missing_or_damaged(folder, tmp_path):
    assert "is a file; this upstream takes the folder" in refused(folder / "config.json")
    torn = (folder / "model.safetensors").read_bytes()[:5000]
    (folder / "model.safetensors").write_bytes(torn)
    assert "model.safetensors is damaged, truncated or no safetensors file" in refused(folder)
    (folder / "model.safetensors").unlink()
    assert "holds no weights: neither model.safetensors nor pytorch_model.bin" in refused(folder)
    (folder / "config.json").write_text("{")
    assert "config.json is not valid JSON" in refused(folder)
    (folder / "config.json").write_text("[]")
    assert "holds a list, not a mapping" in refused(folder)
    (folder / "config.json").write_text("{}")
    assert "names no model_type" in refused(folder)
    (folder / "config.json").unlink()
    assert "it has no config.json" in refused(folder)


def test_weights_that_do_not_fit(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layers.1.feed_forward.output_dense.bias"]
    weights["encoder.layer_norm.weight"] = torch.zeros(3)
    save_file(weights, folder / "model.safetensors")
    sentence = refused(folder)
    assert "it lacks encoder.layers.1.feed_forward.output_dense.bias" in sentence
    assert "encoder.layer_norm.weight is (3,), not (16,)" in sentence


NO_WEIGHTS = pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")


@NO_WEIGHTS
@pytest.mark.parametrize(
    "changes",
    [
        {"num_attention_heads": 5},
        {"num_attention_heads": -2},
        {"conv_dim": [8, 8]},
        {"hidden_act": "gelo"},
        {"hidden_size": "wide"},
        {"hidden_size": 0},
        {"conv_stride": 3},
        {"conv_stride": [5, -1, 2, 2, 2, 2, 2]},
    ],
)
def test_impossible_settings(folder, changes):
    edit(folder / "config.json", **changes)
    assert str(folder) in refused(folder)


@NO_WEIGHTS
@pytest.mark.parametrize(
    ("name", "file", "changes"),
    [
        ("whisper", "config.json", {"d_model": 2}),
        ("whisper", "config.json", {"encoder_attention_heads": -1}),
        ("whisper", "preprocessor_config.json", {"hop_length": 0.5}),
        ("whisper", "preprocessor_config.json", {"n_fft": -400}),
        ("wav2vec2-bert", "config.json", {"hidden_size": 0}),
        ("sew", "config.json", {"hidden_size": 0}),
    ],
)
def test_impossible_settings_of_others(saved, tmp_path, name, file, changes):
    folder = shutil.copytree(saved(name)[0], tmp_path / "changed")
    edit(folder / file, **changes)
    assert str(folder) in refused(folder)


def test_preprocessors(folder, saved, tmp_path, reference):
    path = folder / "preprocessor_config.json"
    edit(path, do_normalize=False)
    assert not torch.allclose(state(folder), reference)
    edit(path, do_normalize="perhaps")
    assert "do_normalize 'perhaps', not true or false" in refused(folder)
    edit(path, sampling_rate=24000)
    assert "made for audio at 24000 Hz" in refused(folder)
    path.unlink()
    assert torch.equal(state(folder), reference), "Hugging Face's default"
    (folder / "processor_config.json").write_text(json.dumps({"feature_extractor": {"do_normalize": False}}))
    assert not torch.allclose(state(folder), reference)
    bert = shutil.copytree(saved("wav2vec2-bert")[0], tmp_path / "bert")
    edit(bert / "preprocessor_config.json", stride=3)
    assert "stacks 3 frames of 80 mel bands, but the net takes 160 numbers" in refused(bert)


def test_weights_with_a_head_are_those_of_the_net_below(tmp_path):
    model = tiny.save("wav2vec2", tmp_path / "ctc", head="ForCTC")
    with torch.no_grad():
        (wav,) = tiny.waves(1000)
        theirs = model.wav2vec2(torch.nn.functional.layer_norm(wav, wav.shape)[None]).last_hidden_state
    torch.testing.assert_close(state(tmp_path / "ctc"), theirs, rtol=1e-3, atol=1e-3)
    model = tiny.save("whisper", tmp_path / "asr", head="ForConditionalGeneration")
    upstream = build("hf", ckpt=str(tmp_path / "asr"))
    assert all(torch.equal(value, model.model.encoder.state_dict()[name]) for name, value in upstream.model.state_dict().items())


def test_pickled_weights_and_pieces(folder, reference):
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    assert torch.equal(state(folder), reference)
    (folder / "pytorch_model.bin").unlink()
    half = len(weights) // 2
    parts = {f"model-0000{n + 1}-of-00002.safetensors": dict(list(weights.items())[n * half : (n + 1) * half + n]) for n in (0, 1)}
    for name, part in parts.items():
        save_file(part, folder / name)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {weight: name for name, part in parts.items() for weight in part}}))
    assert torch.equal(state(folder), reference)
    index.write_text(json.dumps({"weight_map": {"a": "../elsewhere.safetensors"}}))
    assert "has no weight_map from weights to files beside it" in refused(folder)


class Trap:
    """Runs when it is unpickled without care."""

    def __reduce__(self):
        return (Path.touch, (Path("sprung"),))


def test_nothing_is_executed(folder, tmp_path, monkeypatch, reference):
    monkeypatch.chdir(tmp_path)
    (folder / "trap.py").write_text("import pathlib; pathlib.Path('sprung').touch()\n")
    edit(folder / "config.json", auto_map={"AutoModel": "trap.Model", "AutoConfig": "trap.Config"}, _attn_implementation="someone/kernel")
    assert torch.equal(state(folder), reference)
    (folder / "model.safetensors").unlink()
    with (folder / "pytorch_model.bin").open("wb") as file:
        pickle.dump({"a": Trap()}, file)
    assert "nothing of it was executed" in refused(folder)
    assert not Path("sprung").exists()


@pytest.fixture
def offline(tmp_path, monkeypatch) -> Path:
    """An empty cache of the hub, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_a_model_of_the_hub_that_is_not_there(offline):
    assert refused("org/name") == f"org/name is no local folder, is not in the cache {offline}, and the Hugging Face hub cannot be reached"
    assert refused("org/name@v1", "hf_hubert_custom").startswith("org/name@v1 is no local folder")
    for name in ("name", "/no/where", "./x/y", "a/b/c", "org/name@", "https://example.org/a/b"):
        assert "there is no folder" in refused(name)


@pytest.mark.parametrize("name", ["org/name", "org/name@main", "https://huggingface.co/org/name/"])
def test_a_cached_model_of_the_hub_works_offline(offline, folder, name, reference):
    snapshot = offline / "models--org--name" / "snapshots" / ("a" * 40)
    shutil.copytree(folder, snapshot)
    (offline / "models--org--name" / "refs").mkdir()
    (offline / "models--org--name" / "refs" / "main").write_text("a" * 40)
    with torch.no_grad():
        assert torch.equal(build(f"hf:{name}")(tiny.waves(1000))["last_hidden_state"], reference)


def test_only_what_is_needed_is_fetched(folder, monkeypatch, tmp_path, reference):
    """Settings first, so that a model of another kind costs nothing; pickles only where there is nothing else."""
    asked, commit = [], tmp_path / "snapshots" / ("b" * 40)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")

    def fetch(repo, revision, allow_patterns, force_download):
        asked.append((repo, revision, force_download))
        for path in folder.iterdir():
            if any(path.match(pattern) for pattern in allow_patterns):
                commit.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, commit)
        return str(commit)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    build("hf", ckpt="org/name@v2", refresh=True)
    assert asked[0] == ("org/name", "v2", True) and asked[-1][1] == commit.name
    assert {path.name for path in commit.iterdir()} == {"config.json", "preprocessor_config.json", "model.safetensors"}
    shutil.rmtree(commit)
    (folder / "model.safetensors").unlink()
    assert torch.equal(build("hf:org/name")(tiny.waves(1000))["last_hidden_state"], reference)
    shutil.rmtree(commit)
    edit(folder / "config.json", model_type="bert")
    assert "no speech encoder" in refused("org/name")
    assert {path.name for path in commit.iterdir()} == {"config.json", "preprocessor_config.json"}
