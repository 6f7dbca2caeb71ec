"""Checkpoints that the public program wrote become ours, and say of its recorded generations what it said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml

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
from utility.errors import CheckpointError, ConfigError, UnknownNameError

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


def spoilt(weights: dict[str, torch.Tensor], step: int) -> Iterator[dict]:
    """Each weight missing, of no dimension, empty, no tensor at all; every ``step``-th of these."""
    faults = []
    for name, weight in weights.items():
        odd = [torch.tensor(3.0)] if weight.numel() > 1 else []  # dimensions of one element come and go between versions
        faults += [{**weights, name: value} for value in (None, *odd, torch.zeros(0, 2, 2, 2), "text")]
    return ({name: value for name, value in one.items() if value is not None} for one in faults[::step])


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("family", ["sashimi", "unet", "sashimi_standalone", "samplernn", "wavenet", "diffwave"])
def test_whatever_is_wrong_with_a_weight_is_one_sentence(tmp_path, family, step):
    alone = {"_name_": "sashimi_standalone", "d_model": 4, "n_layers": 1, "pool": [2], "d_state": 4}
    network = build_diffwave(SMALL["diffwave"], "modelrc") if family == "diffwave" else build(SMALL.get(family, alone))
    path = tmp_path / f"{family}_sc09.pt"
    for odd in spoilt(network.state_dict(), step):
        torch.save({"model_state_dict": odd} if family == "diffwave" else odd, path)
        with pytest.raises((CheckpointError, ConfigError), match=rf"{path}|modelrc"):
            convert(path)


@pytest.mark.parametrize(
    ("settings", "error", "sentence"),
    [
        ({"dataset": {"bits": 10}}, ConfigError, "bits must be those of datarc: the recordings have 1024 codes, the network 256"),
        ({"dataset": {"quantization": "weird"}}, UnknownNameError, "'weird'"),
        ({"dataset": {"quantization": "linear"}}, ConfigError, "quantization must be that of datarc, linear, not mu-law"),
        ({"model": {"bits": 10}, "dataset": {"bits": 10}}, CheckpointError, "where the config has"),
        ({"model": {"n_rnn": "two", "layers": 3}}, ConfigError, "layers"),
    ],
)
def test_settings_that_do_not_fit_the_weights(tmp_path, settings, error, sentence):
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": build(SMALL["samplernn"]).state_dict(), "hyper_parameters": settings}, path)
    with pytest.raises(error, match=sentence):
        convert(path)


@pytest.mark.parametrize("odd", [None, [], "text", 3, {1: 2}, {"layer": "text"}])
def test_settings_that_are_none_are_passed_over(tmp_path, odd):
    path = tmp_path / "last.ckpt"
    weights = build(SMALL["samplernn"]).state_dict()
    torch.save({"state_dict": weights, "hyper_parameters": {"model": {"layer": odd}, "dataset": odd}, "global_step": odd}, path)
    assert convert(path).config["downstream_expert"]["modelrc"]["d_hidden"] == 12
    torch.save({"state_dict": weights, "hyper_parameters": odd}, path)
    assert convert(path).config["downstream_expert"]["modelrc"]["frame_sizes"] == [4, 2, 2]
    torch.save({"state_dict": odd}, path)
    with pytest.raises(CheckpointError, match="holds no network"):
        convert(path)


def test_a_config_of_another_program(tmp_path):
    torch.save(build(SMALL["samplernn"]).state_dict(), tmp_path / "x.pt")
    (tmp_path / "x.yaml").write_text("trainer: {}")
    with pytest.raises(ConfigError, match=r"config\.downstream_expert: None is not a section"):
        convert(tmp_path / "x.pt", tmp_path / "x.yaml")
