"""Checkpoints that the public program wrote become ours, and say of its recorded generations what it said."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import yaml

from downstream.audio_generation.architectures import MARKS
from downstream.audio_generation.denoising.foreign import KEY
from downstream.audio_generation.expert import DownstreamExpert
from downstream.audio_generation.foreign import convert
from downstream.audio_generation.generation.files import Naming, write
from downstream.audio_generation.models.build import build
from downstream.audio_generation.models.diffwave import build_diffwave
from downstream.audio_generation.quantise import Quantiser
from run_downstream import main
from tests.downstream.audio_generation.families import SMALL
from tests.downstream.audio_generation.layouts import TASK
from utility import import_checkpoint
from utility.errors import CheckpointError, ConfigError, ToolkitError
from utility.experiment.rebuild import record_to_plain
from utility.experiment.unpickle import load_foreign

CASES = {
    "samplernn_uncond": ("model.pt", 1),
    "sashimi_cond_reps": ("model.pt", 24),
    "sashimi_ckpt_topp": ("model.ckpt", 1),
    "sashimi_uncond": ("model.pt", 1),
    "wavenet_uncond": ("model.pt", 0),
}


def config_of(place: Path, family: str) -> Path:
    """A shipped config with the sizes of a small network."""
    content = yaml.safe_load((TASK / f"{family}-sc09.yaml").read_text())
    content["downstream_expert"]["modelrc"] |= SMALL[family]
    path = place / f"{family}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize("name", CASES)
def test_recorded_generations_of_the_program(golden, tmp_path, name):
    """Its likelihoods are those of our network, and its files are those that we write of its codes."""
    folder, (file, prefix) = golden(f"generation/cli/{name}"), CASES[name]
    config = config_of(tmp_path, "wavenet") if name.startswith("wavenet") else None
    foreign = convert(folder / file, config)
    task = DownstreamExpert(1, 1, foreign.config["downstream_expert"], tmp_path, mode="evaluate").eval()
    task.load_state_dict(foreign.downstream)
    with np.load(folder / "drawn_ids.npz") as drawn:
        passes = sum(key.endswith("_ids") for key in drawn)
        codes, logprobs = (np.concatenate([drawn[f"pass{n}_{key}"] for n in range(passes)]) for key in ("ids", "logprobs"))
    x, y = task.framing.batch([torch.from_numpy(row) for row in codes])
    with torch.no_grad():
        logits, _ = task.model(x)
    chosen = torch.log_softmax(logits.double(), -1).gather(-1, y.clamp(min=0)[..., None])[..., 0]
    chosen = chosen[:, : codes.shape[1]]
    if prefix:  # WaveNet counts a draw that is not among the files
        np.testing.assert_allclose(chosen[:, prefix - 1 :].sum(1), logprobs, rtol=1e-4)
        np.testing.assert_allclose(np.load(next((folder / "samples").glob("*.npy"))), logprobs, rtol=1e-6)
    found = {"codes": codes.astype(np.uint8), "logprobs": logprobs}
    for path in write(tmp_path / "samples", Naming("sc09", name.partition("_")[0], codes.shape[1] / 16000), found, Quantiser(), 16000):
        ours, rate = soundfile.read(path, dtype="float32")
        theirs, their_rate = soundfile.read(folder / "samples" / path.name, dtype="float32")
        assert rate == their_rate == 16000
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_an_imported_checkpoint_is_used_like_our_own(golden, tmp_path, capsys):
    source, ours = golden("generation/cli/samplernn_uncond") / "model.pt", tmp_path / "imported" / "dev-best.ckpt"
    assert import_checkpoint.main([str(source), "-d", "audio_generation", "--output", str(ours)]) == 0
    override = "config.downstream_expert.generate.n_samples=3,,config.downstream_expert.generate.l_sample=32"
    assert main(["-m", "evaluate", "-t", "generate", "-e", str(ours), "-o", override, "--device", "cpu"]) == 0
    result = json.loads((ours.parent / "results" / "dev-best" / "generate.json").read_text())
    assert result["scores"]["recordings"]["value"] == 3
    assert len(list((ours.parent / "results" / "dev-best" / "samples").glob("unconditional_sc09_samplernn_len_0.00s_gen_*.wav"))) == 3


def test_names_without_a_number_are_understood(golden, tmp_path):
    path = golden("generation/cli/sashimi_uncond") / "model.pt"
    weights = torch.load(path, weights_only=True)
    older = {name.replace("encoder.0.", "encoder.").replace("decoder.0.", "decoder."): value for name, value in weights.items()}
    assert older.keys() != weights.keys()
    torch.save(older, tmp_path / "sashimi_sc09.pt")
    assert convert(tmp_path / "sashimi_sc09.pt").downstream.keys() == convert(path).downstream.keys()


def test_what_is_no_such_checkpoint_is_named(golden, tmp_path):
    torch.save({"weight": torch.ones(2)}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=r"other\.pt holds no network"):
        convert(tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=r"where the config has .*--config takes another"):
        convert(golden("generation/cli/wavenet_uncond") / "model.pt")


STANDALONE = {"_name_": "sashimi_standalone", "d_model": 4, "n_layers": 1, "pool": [2, 4], "expand": 2, "d_state": 4}
STEPS = {"diffusion_step_embed_dim_in": 6, "diffusion_step_embed_dim_mid": 10, "diffusion_step_embed_dim_out": 12}
DIFFWAVES = {
    "diffwave_wavenet": {"backbone": "wavenet", "res_channels": 4, "skip_channels": 6, "num_res_layers": 2, "dilation_cycle": 10},
    "diffwave_sashimi": {"backbone": "sashimi", "d_model": 4, "n_layers": 1, "pool": [2, 4], "ff": 3, "layer": {"d_state": 4}, "L": 64},
}
ODD: dict[str, Callable[[torch.Tensor], Any]] = {
    "a number": lambda value: 1.5,
    "an array": lambda value: value.numpy(),
    "nothing": lambda value: None,
    "no dimensions": lambda value: torch.zeros(()) if value.dim() else torch.zeros(3),
    "three by three": lambda value: torch.zeros(3, 3),
    "four dimensions": lambda value: torch.zeros(2, 3, 5, 7),
    "no elements": lambda value: torch.zeros((0, *value.shape[1:])),
    "flags": lambda value: torch.ones(value.shape, dtype=torch.bool),
    "complex": lambda value: value.to(torch.complex64),
}

QUICK = ("an array", "no dimensions")  # what fails before a network is built, and what once ended in an IndexError


@pytest.fixture(scope="module", params=["sashimi", "unet", "samplernn", "wavenet", "sashimi_standalone", *DIFFWAVES])
def small(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, torch.Tensor], Path | None]:
    """Weights of a small network, and the config that tells what they do not."""
    torch.manual_seed(0)
    name = request.param
    if name in DIFFWAVES:
        return build_diffwave({**DIFFWAVES[name], **STEPS}, "modelrc").state_dict(), None
    config = config_of(tmp_path_factory.mktemp("config"), name) if name == "wavenet" else None
    return build(STANDALONE if name == "sashimi_standalone" else SMALL[name]).state_dict(), config


def one_of_each(weights: Mapping[str, Any]) -> list[str]:
    """The first of those names that only numbers tell apart."""
    return list({re.sub(r"\d+", "*", name): name for name in reversed(weights)}.values())


def said_of(weights: Mapping[str, Any], config: Path | None, monkeypatch: pytest.MonkeyPatch) -> str:
    """The sentence about a file with these weights; empty: it is taken over."""
    content = weights if any(name.startswith("model.") for name in weights) else {KEY: weights}
    monkeypatch.setattr("downstream.audio_generation.foreign.load_foreign", lambda path: content)
    try:
        convert(Path("odd/sc09.pt"), config)
    except ToolkitError as error:
        assert str(error).startswith("odd/sc09.pt")
        assert len(str(error).splitlines()) == 1
        return str(error)
    return ""


def test_each_weight_that_is_missing_is_named(small, monkeypatch):
    weights, config = small
    assert said_of(weights, config, monkeypatch) == ""
    for name in one_of_each(weights):
        sentence = said_of({key: value for key, value in weights.items() if key != name}, config, monkeypatch)
        assert name in sentence, name


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=() if kind in QUICK else pytest.mark.slow) for kind in ODD])
def test_each_weight_that_is_odd_is_one_sentence(kind, small, monkeypatch):
    weights, config = small
    for name in one_of_each(weights):
        value = weights[name]
        odd = ODD[kind](value)
        if isinstance(odd, torch.Tensor) and (odd.shape, odd.dtype) == (value.shape, value.dtype):
            continue
        if kind == "no dimensions" and value.numel() == 1:
            continue  # DiffWave's dimensions of one element come and go
        assert said_of({**weights, name: odd}, config, monkeypatch), name


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({}, "holds no network"),
        ([], "holds no network"),
        ({KEY: {}}, "holds no DiffWave"),
        ({KEY: {3: torch.zeros(1)}}, "the weight 3 has no name"),
        ({KEY: {"init_conv.0.conv.weight_v": torch.zeros(4, 1, 1)}}, "it has no fc_t1.weight"),
        ({"state_dict": None}, "no table of weights"),
        ({"state_dict": [1]}, "no table of weights"),
        ({"state_dict": {3: torch.zeros(1)}}, "holds no network"),
        ({"state_dict": {"model.x": 3}}, "model.x is of type int"),
        *(({mark: torch.zeros(2, 2, 2)}, r"it has no|not one of") for mark in MARKS.values()),
    ],
)
def test_files_that_hold_something_else(content, sentence, monkeypatch):
    monkeypatch.setattr("downstream.audio_generation.foreign.load_foreign", lambda path: content)
    with pytest.raises(CheckpointError, match=rf"^odd/sc09\.pt.*({sentence})"):
        convert(Path("odd/sc09.pt"))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"hyper_parameters": {"dataset": {"bits": 10}}}, r"\(256,\) .* where the config has \(1024,\)"),
        ({"hyper_parameters": {"dataset": {"bits": "8"}}}, "bits must be a whole number"),
        ({"hyper_parameters": {"dataset": {"quantization": "weird"}}}, "unknown quantization .*'weird'"),
        ({"hyper_parameters": {"dataset": {"sample_len": -3}}}, "sample_len must be"),
        ({"hyper_parameters": {"dataset": [8]}}, "hyper_parameters.dataset is"),
        ({"hyper_parameters": {"dataset": {"bits": torch.zeros(3)}}}, "hyper_parameters.dataset.bits is of type Tensor"),
        ({"hyper_parameters": {"model": "sashimi"}}, "hyper_parameters.model is 'sashimi'"),
        ({"hyper_parameters": {"model": {3: 4}}}, "hyper_parameters.model has a field 3"),
        ({"hyper_parameters": {"model": {"layer": [1]}}}, "hyper_parameters.model.layer is"),
        ({"hyper_parameters": {"model": {"layer": {"gate": torch.zeros(2)}}}}, "hyper_parameters.model.layer.gate is of type Tensor"),
        ({"hyper_parameters": {"model": {"unheard": 1}}}, "unknown field 'unheard'"),
        ({"global_step": "many"}, "global_step is 'many'"),
        ({"global_step": -1}, "global_step is -1"),
    ],
)
def test_settings_that_a_training_cannot_have_had(golden, change, sentence, monkeypatch):
    content = load_foreign(golden("generation/cli/sashimi_ckpt_topp") / "model.ckpt")
    trained = record_to_plain(content["hyper_parameters"])
    content = {**content, **change, "hyper_parameters": {**trained, **change.get("hyper_parameters", {})}}
    monkeypatch.setattr("downstream.audio_generation.foreign.load_foreign", lambda path: content)
    with pytest.raises(CheckpointError, match=rf"^odd/last\.ckpt.*{sentence}"):
        convert(Path("odd/last.ckpt"))


def test_a_network_of_another_quantization_than_its_recordings(monkeypatch):
    content = {"state_dict": build(SMALL["samplernn"]).state_dict(), "hyper_parameters": {"dataset": {"quantization": "linear"}}}
    monkeypatch.setattr("downstream.audio_generation.foreign.load_foreign", lambda path: content)
    with pytest.raises(CheckpointError, match=r"^last\.ckpt: .*quantization must be that of datarc, linear, not mu-law"):
        convert(Path("last.ckpt"))


def test_codes_of_ten_bits_are_taken_over(monkeypatch):
    """Where the weights have as many as the settings say."""
    content = {"state_dict": build(SMALL["sashimi"], 1024).state_dict(), "hyper_parameters": {"dataset": {"bits": 10}}}
    monkeypatch.setattr("downstream.audio_generation.foreign.load_foreign", lambda path: content)
    assert convert(Path("last.ckpt")).config["downstream_expert"]["datarc"]["bits"] == 10


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("runner: {}", "the section 'downstream_expert' is missing"),
        ("downstream_expert: {}", "field 'datarc' is missing"),
        ("downstream_expert: {modelrc: {_name_: diffwave}, datarc: {_name_: sc09, path: x}}", "and diffwave does not"),
    ],
)
def test_configs_of_something_else(golden, tmp_path, text, sentence):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        convert(golden("generation/cli/sashimi_uncond") / "model.pt", tmp_path / "config.yaml")


def test_an_incomplete_checkpoint_ends_the_program_with_a_sentence(golden, tmp_path, capsys):
    weights = torch.load(golden("generation/cli/samplernn_uncond") / "model.pt", weights_only=True)
    del weights["model.sample_level_mlp.embedding.weight"]
    torch.save(weights, tmp_path / "samplernn_sc09.pt")
    words = [str(tmp_path / "samplernn_sc09.pt"), "-d", "audio_generation", "--output", str(tmp_path / "ours.ckpt")]
    assert import_checkpoint.main(words) == 2
    assert capsys.readouterr().err == f"{tmp_path / 'samplernn_sc09.pt'}: it has no model.sample_level_mlp.embedding.weight\n"
    assert not (tmp_path / "ours.ckpt").exists()
