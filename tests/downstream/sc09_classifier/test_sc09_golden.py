"""The classifier beside the public one: features, network, and its files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from downstream.sc09_classifier.features import LogMel, one_second
from downstream.sc09_classifier.foreign import convert
from downstream.sc09_classifier.model import ResNeXt
from run_downstream import main
from utility.errors import CheckpointError, ConfigError, UsageError
from utility.experiment import checkpoint
from utility.import_checkpoint import imported

TINY = {"cardinality": 4, "depth": 11, "base_width": 4, "widen_factor": 1}
RECIPE_SEED = 1002


def images_of(folder: Path) -> torch.Tensor:
    inputs = np.load(folder / "inputs.npz")
    return torch.from_numpy(np.stack([inputs[name] for name in sorted(inputs.files)]))


@pytest.mark.parametrize("pad_mode", ["constant", "reflect"])
@pytest.mark.parametrize("name", ["speech", "short", "chirp", "long"])
def test_recorded_features(golden, name: str, pad_mode: str):
    folder = golden("generation/classifier/features")
    wave = torch.from_numpy(np.load(folder / "inputs.npz")[name])
    found = LogMel(pad_mode)(one_second(wave)[None])[0]
    np.testing.assert_allclose(found, np.load(folder / "expected.npz")[f"{name}_mel_{pad_mode}"], atol=2e-3, rtol=0)


def test_features_do_not_depend_on_the_batch():
    waves = torch.randn(3, 16000, generator=torch.Generator().manual_seed(0))
    features = LogMel()
    assert torch.equal(features(waves)[1], features(waves[1:2])[0])


def test_silence_has_features_too():
    assert torch.equal(LogMel()(torch.zeros(1, 16000)), torch.zeros(1, 32, 32))


def check_outputs(model: ResNeXt, folder: Path, **tolerance: float) -> None:
    expected = np.load(folder / "expected.npz")
    with torch.no_grad():
        activations = model.eval().activations(images_of(folder))
        logits = model.classifier(activations)
    for found, name in ((activations, "activations"), (logits, "logits"), (logits.softmax(dim=-1), "probs")):
        np.testing.assert_allclose(found, expected[name], **tolerance)


@pytest.mark.parametrize("file", ["whole_module.pth", "checkpoint.pth", "state.pt"])
def test_recorded_files_become_checkpoints(golden, tmp_path: Path, file: str):
    """The pickled module and the checkpoint of the public program, read without executing anything of them."""
    folder = golden("generation/classifier/resnext_tiny")
    (written,) = imported("sc09_classifier", folder / file, tmp_path / "classifier.ckpt")
    state = checkpoint.load(written)
    assert state["Config"]["downstream_expert"]["modelrc"] == TINY
    assert state["Step"] == (1234 if file == "checkpoint.pth" else 0)
    model = ResNeXt(**TINY)
    weights = {name: value for name, value in state["Downstream"].items() if name.startswith("model.")}
    model.load_state_dict({name.removeprefix("model."): value for name, value in weights.items()})
    check_outputs(model, folder, rtol=1e-3, atol=1e-3)


def test_a_taken_over_classifier_answers(golden, tmp_path: Path, shared: Path, capsys: pytest.CaptureFixture):
    folder = golden("generation/classifier/resnext_tiny")
    (written,) = imported("sc09_classifier", folder / "whole_module.pth", tmp_path / "classifier.ckpt")
    capsys.readouterr()
    clip = shared / "data/speech_commands_mini/yes_1000ms.wav"
    assert main(["-m", "inference", "-t", str(clip), "-e", str(written), "--device", "cpu"]) == 0
    assert '"label": ' in capsys.readouterr().out


@pytest.mark.slow
def test_recorded_network_of_the_published_size(golden):
    """Names and order of its weights, and what a network filled by a recipe answers."""
    folder = golden("generation/classifier/resnext_full_recipe")
    expected = np.load(folder / "expected.npz")
    model = ResNeXt()
    state, rng = model.state_dict(), np.random.RandomState(RECIPE_SEED)
    assert list(state) == expected["param_names"].tolist()
    assert [str(list(value.shape)) for value in state.values()] == expected["param_shapes"].tolist()
    assert sum(p.numel() for p in model.parameters()) == expected["n_params"] == 34_425_546
    for number, (name, value) in enumerate(state.items()):
        if name.endswith("num_batches_tracked"):
            continue
        filled = by_recipe(name, rng.standard_normal(tuple(value.shape)).astype(np.float32))
        value.copy_(torch.from_numpy(filled))
        wide = value.double()
        np.testing.assert_allclose([wide.sum(), wide.abs().sum()], expected["param_sum_abssum_f64"][number], rtol=1e-6, atol=1e-3)
    with torch.no_grad():
        logits = model.eval()(images_of(folder)).numpy()
    assert np.abs(logits - expected["logits"]).max() <= 2e-3 * np.abs(expected["logits"]).max()


def by_recipe(name: str, normal: np.ndarray) -> np.ndarray:
    """The scaling of manifest.json: weights as He has them, statistics and biases near 0 and 1."""
    if normal.ndim > 1:
        return normal * np.float32(np.sqrt(2 / np.prod(normal.shape[1:])))
    if name.endswith("running_var"):
        return 1 + np.float32(0.2) * np.abs(normal)
    return (1 if name.endswith("weight") else 0) + np.float32(0.1) * normal


def test_other_files_are_refused(golden, tmp_path: Path):
    path = tmp_path / "other.pth"
    torch.save({"weights": {"a": torch.zeros(1)}}, path)
    with pytest.raises(CheckpointError, match="neither a pickled module nor a dictionary of weights"):
        convert(path)
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match=r"it has no 'stage_1\.stage_1_bottleneck_0\.conv_conv\.weight'"):
        convert(path)
    state = torch.load(golden("generation/classifier/resnext_tiny") / "state.pt", weights_only=True)
    torch.save({**state, "classifier.bias": torch.zeros(12)}, path)
    with pytest.raises(CheckpointError, match="tells 12 classes apart"):
        convert(path)
    del state["bn_1.bias"]
    torch.save(state, path)
    with pytest.raises(CheckpointError, match=r"bn_1\.bias"):
        convert(path)
    with pytest.raises(UsageError, match="--upstream has no place here"):
        convert(path, upstream=path)


FIRST_BLOCK = "stage_1.stage_1_bottleneck_0"


@pytest.mark.parametrize("name", [f"{FIRST_BLOCK}.conv_conv.weight", f"{FIRST_BLOCK}.conv_expand.weight", "classifier.bias"])
@pytest.mark.parametrize("shape", [None, (), (3, 3), (0,), (1, 1, 1, 1), (1, 2, 1, 1)])
def test_weights_that_tell_no_sizes_are_one_sentence(name, shape, monkeypatch):
    weights = ResNeXt(**TINY, nlabels=10).state_dict()
    del weights[name]
    if shape is not None:
        weights[name] = torch.zeros(shape)
    monkeypatch.setattr("downstream.sc09_classifier.foreign.load_foreign", lambda *_: weights)
    with pytest.raises(CheckpointError, match=r"odd\.pth") as caught:
        convert(Path("odd.pth"))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("content", [{3: torch.zeros(1)}, {"state_dict": {3: torch.zeros(1)}}, {"state_dict": 3}, [], None])
def test_what_is_no_table_of_weights_is_one_sentence(content, monkeypatch):
    monkeypatch.setattr("downstream.sc09_classifier.foreign.load_foreign", lambda *_: content)
    with pytest.raises(CheckpointError, match=r"^odd\.pth is no SC09 classifier: neither"):
        convert(Path("odd.pth"))


def test_a_config_without_the_task_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("downstream.sc09_classifier.foreign.load_foreign", lambda *_: ResNeXt(**TINY, nlabels=10).state_dict())
    (tmp_path / "config.yaml").write_text("runner: {}")
    with pytest.raises(ConfigError, match="the section 'downstream_expert' is missing"):
        convert(Path("odd.pth"), tmp_path / "config.yaml")
