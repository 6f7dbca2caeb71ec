"""Corpus, augmentation, training and answers of the classifier of digits."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from downstream.blocks.sc09 import DIGITS, noise_files, sc09_files
from downstream.sc09_classifier.augmentation import Augmentation, changed_speed, fixed, seconds_of, shifted, stretched
from downstream.sc09_classifier.dataset import label_of
from downstream.sc09_classifier.expert import DownstreamExpert
from downstream.sc09_classifier.features import LogMel
from downstream.sc09_classifier.model import ResNeXt
from run_downstream import main
from tests.downstream.sc09_classifier.layouts import DATARC, MODELRC, TINY, stepped, tone, tones
from utility.audio.io import resample, save_audio
from utility.errors import ConfigError, DataError, ToolkitError, UsageError
from utility.training.sampling import balanced_weights

FIELD = "config.downstream_expert.datarc.path"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tones(tmp_path_factory.mktemp("corpus") / "sc09", train=3)


def make(expdir: Path, datarc: dict[str, Any] | None = None, **kwargs: Any) -> DownstreamExpert:
    sections = {
        "datarc": {"batch_size": 4, **(datarc or {})},
        "modelrc": kwargs.pop("modelrc", TINY),
        "samples": kwargs.pop("samples", None),
    }
    return DownstreamExpert(*kwargs.pop("upstream", (1, 1)), sections, str(expdir), **kwargs)


@pytest.mark.parametrize("folders", [False, True])
def test_both_layouts(tmp_path: Path, folders: bool):
    root = tones(tmp_path, train=2, folders=folders)
    found = {split: sc09_files(root, split, FIELD) for split in ("train", "dev", "test")}
    assert {split: len(files) for split, files in found.items()} == {"train": 20, "dev": 10, "test": 10}
    assert [label_of(path) for path in found["train"]] == [digit for digit in range(10) for _ in range(2)]
    assert all(path.stem.startswith(split) for split, files in found.items() for path in files)
    assert [path.name for path in noise_files(root)] == ["hiss.wav"]


def test_corpora_that_are_none(corpus: Path, tmp_path: Path):
    with pytest.raises(DataError, match=r"datarc.path: folder .* does not exist"):
        sc09_files(tmp_path / "nowhere", "train", FIELD)
    (tmp_path / "zeros").mkdir()
    with pytest.raises(DataError, match=r"none of the folders zero \.\.\. nine, and no folder train; did you mean 'zeros'"):
        sc09_files(tmp_path, "train", FIELD)
    (tmp_path / "zero").mkdir()
    with pytest.raises(DataError, match=r"validation_list\.txt does not exist; SC09 has it beside the folders of digits"):
        sc09_files(tmp_path, "train", FIELD)
    for name in ("validation_list.txt", "testing_list.txt"):
        (tmp_path / name).write_text("zero/absent.wav\n")
    with pytest.raises(DataError, match=r"names 1 recordings that are not there, such as zero/absent\.wav"):
        sc09_files(tmp_path, "dev", FIELD)
    with pytest.raises(DataError, match="no recording of a digit for the split 'train'"):
        sc09_files(tmp_path, "train", FIELD)


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"datarc": {"batchsize": 4}}, ConfigError, "unknown field 'batchsize'; did you mean 'batch_size'"),
        ({"datarc": {"pad_mode": "mirror"}}, ToolkitError, "pad_mode in config.downstream_expert.datarc 'mirror'"),
        ({"modelrc": {"depth": 30}}, ConfigError, "depth must be 2 \\+ 9 n, such as 11, 20 or 29, not 30"),
        ({"modelrc": {"width": 4}}, ConfigError, "unknown field 'width'; did you mean 'base_width'"),
        ({"samples": {"dirs": "x"}}, ConfigError, "unknown field 'dirs'; did you mean 'dir'"),
        ({"samples": {"threshold": True}}, ConfigError, "threshold and save_probs go with a dir"),
        ({"samples": {"name": "mine"}}, ConfigError, "go with a dir"),
        ({"samples": {"dir": "x", "name": "../mine"}}, ConfigError, "name is part of a file's name"),
        ({"upstream": (80, 160)}, UsageError, "-u waveform"),
        ({"upstream_trainable": True}, UsageError, "without -f"),
    ],
)
def test_what_the_config_cannot_say(tmp_path: Path, fields: dict, error: type, message: str):
    with pytest.raises(error, match=message):
        make(tmp_path, **fields)


def test_noise_that_is_not_there(corpus: Path, tmp_path: Path):
    expert = make(tmp_path, {"path": str(corpus), "background_noise": str(tmp_path)}).train()
    with pytest.raises(ConfigError, match="is no folder with wav files"):
        expert.get_dataloader("train")


# ---- augmentation


class Chances:
    """Python's random numbers, with every change wanted, or none."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, wanted: bool):
        monkeypatch.setattr("downstream.sc09_classifier.augmentation.chance", lambda: wanted)


def test_without_any_change_the_features_are_those_of_evaluation(corpus: Path, monkeypatch: pytest.MonkeyPatch):
    Chances(monkeypatch, wanted=False)
    features, wave = LogMel(), tone(3, np.random.default_rng(1))
    image = Augmentation(seconds_of(noise_files(corpus)))(wave, features)
    torch.testing.assert_close(image, features(torch.from_numpy(wave)[None])[0])


def test_changes_are_drawn_and_keep_the_form(corpus: Path, monkeypatch: pytest.MonkeyPatch):
    Chances(monkeypatch, wanted=True)
    random.seed(0)
    features, wave, augmentation = LogMel(), tone(3, np.random.default_rng(1)), Augmentation(seconds_of(noise_files(corpus)))
    images = [augmentation(wave, features) for _ in range(3)]
    assert all(image.shape == (32, 32) and image.dtype == torch.float32 and image.max() == 0 and image.min() >= -80 for image in images)
    assert not torch.equal(images[0], images[1])
    random.seed(0)
    assert torch.equal(augmentation(wave, features), images[0])


def test_half_of_the_changes_happen():
    from downstream.sc09_classifier.augmentation import chance

    random.seed(0)
    assert 0.45 < np.mean([chance() for _ in range(2000)]) < 0.55


@pytest.mark.parametrize(("draw", "ratio"), [(0.2, 1.2), (-0.2, 0.8), (0.0, 1.0)])
def test_speed_moves_length_and_pitch(monkeypatch: pytest.MonkeyPatch, draw: float, ratio: float):
    monkeypatch.setattr(random, "uniform", lambda low, high: draw)
    wave = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000).astype(np.float32)
    found = changed_speed(wave)
    assert len(found) == pytest.approx(16000 * ratio, abs=1)
    pitch = np.abs(np.fft.rfft(found)).argmax() * 16000 / len(found)
    assert pitch == pytest.approx(440 / ratio, abs=2)


@pytest.mark.parametrize("rate", [0.8, 1.0, 1.2])
def test_stretch_keeps_the_pitch(rate: float):
    """A steady tone of a second stays that tone, for 1 / rate seconds."""
    wave = torch.sin(2 * torch.pi * 440 * torch.arange(16000) / 16000)
    spectrum = LogMel().spectrum(wave[None])[0].numpy()
    found = stretched(spectrum, rate)
    assert found.shape == (1025, math.ceil(32 / rate))
    back = torch.istft(torch.from_numpy(found), 2048, 512, window=torch.hann_window(2048)).numpy()
    middle = back[2048 : 2048 + 8192]
    assert np.abs(np.fft.rfft(middle * np.hanning(8192))).argmax() * 16000 / 8192 == pytest.approx(440, abs=2)
    assert np.abs(middle).max() == pytest.approx(1, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.8, 1.1])
def test_stretch_equals_librosas(rate: float):
    librosa = pytest.importorskip("librosa")
    rng = np.random.default_rng(0)
    spectrum = LogMel().spectrum(torch.from_numpy(tone(4, rng))[None])[0].numpy()
    expected = librosa.phase_vocoder(spectrum, rate=rate, hop_length=512)  # sums its phases in single precision
    np.testing.assert_allclose(stretched(spectrum, rate), expected, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("frames", [-3, 0, 5])
def test_shift(monkeypatch: pytest.MonkeyPatch, frames: int):
    monkeypatch.setattr(random, "randint", lambda low, high: frames)
    spectrum = np.arange(1, 33, dtype=np.float32)[None]
    expected = [place - frames if 1 <= place - frames <= 32 else 0 for place in range(1, 33)]
    assert shifted(spectrum)[0].tolist() == expected


def test_fixed_length():
    assert fixed(np.ones((2, 40))).shape == fixed(np.ones((2, 20))).shape == (2, 32)
    assert fixed(np.ones((2, 20))).sum() == 40


def test_seconds_of_noise(tmp_path: Path):
    save_audio(tmp_path / "a.wav", np.zeros(16000 * 3 + 5), 16000)
    save_audio(tmp_path / "b.wav", np.zeros(800), 16000)
    assert [(path.name, second) for path, second in seconds_of([tmp_path / "a.wav", tmp_path / "b.wav"])] == [
        ("a.wav", 0), ("a.wav", 1), ("a.wav", 2), ("b.wav", 0)
    ]  # fmt: skip


def test_draws_are_balanced(corpus: Path, tmp_path: Path):
    """With nine tenths of one digit, all are drawn equally often."""
    files = sc09_files(corpus, "train", FIELD)
    weights = balanced_weights([label_of(path) for path in files if path.parent.name == "one" or path.stem == "train0"])
    assert weights == [12.0 if label != 1 else 4.0 for label in [0, 1, 1, 1, *range(2, 10)]]
    expert = make(tmp_path, {"path": str(corpus)}).train()
    assert type(expert.get_dataloader("train").sampler).__name__ == "WeightedRandomSampler"
    assert type(expert.get_dataloader("dev").sampler).__name__ == "SequentialSampler"


def test_the_lowest_loss_on_dev_gives_a_checkpoint_of_its_own(tmp_path: Path):
    expert = make(tmp_path)
    logger = SimpleNamespace(add_scalar=lambda *_, **__: None)

    def asked(split: str, loss: float, accuracy: float) -> list[str]:
        records = {"loss": [loss], "acc": [accuracy], "filename": [], "predict": [], "truth": []}
        return expert.log_records(split, records, logger, 1, [0], 1).save_names

    assert asked("dev", 2.0, 0.5) == ["dev-best.ckpt", "dev-least-loss.ckpt"]
    assert asked("test", 1.0, 0.9) == []
    assert asked("dev", 1.5, 0.4) == ["dev-least-loss.ckpt"]
    assert asked("dev", 1.5, 0.6) == ["dev-best.ckpt"]


# ---- the network


def test_sizes(corpus: Path):
    images = torch.randn(2, 32, 32, generator=torch.Generator().manual_seed(0))
    model = ResNeXt(**TINY).eval()
    assert model(images).shape == (2, 10)
    assert torch.equal(model(images), model.classifier(model.activations(images)))
    assert model.activations(images).shape == (2, 256)
    assert model.conv_1_3x3.weight.std().item() == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.1)
    assert not model.classifier.bias.any()


# ---- the whole


@pytest.fixture(scope="module")
def trained(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short training over the command line."""
    place = tmp_path_factory.mktemp("run")
    runner = "config.runner.total_steps=40,,config.runner.eval_step=20,,config.runner.save_step=40,,config.runner.log_step=20"
    optimizer = "config.optimizer={'name':'TorchOptim','torch_optim_name':'AdamW','lr':4e-3}"
    override = f"{runner},,{optimizer},,config.runner.tensorboard=False,,{DATARC}.path={corpus},,{DATARC}.batch_size=10,,{MODELRC}"
    words = ["-m", "train", "-u", "waveform", "-d", "sc09_classifier", "-c", str(stepped(place)), "-p", str(place / "exp")]
    assert main([*words, "--device", "cpu", "-o", f"{override},,{DATARC}.num_workers=0"]) == 0
    return place / "exp"


def test_hums_are_told_apart(trained: Path):
    assert main(["-m", "evaluate", "-t", "test", "-e", str(trained / "dev-best.ckpt"), "--device", "cpu"]) == 0
    result = json.loads((trained / "results/dev-best/test.json").read_text())
    assert result["scores"]["acc"]["value"] >= 0.3  # a constant answer has 0.1; measured: 0.6
    assert (trained / "dev-least-loss.ckpt").is_file()


def test_recordings_get_a_digit(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    """Any rate; the first second counts, as in training."""
    wave = tone(2, np.random.default_rng(5), 3.0)
    save_audio(tmp_path / "long.wav", wave, 16000)
    save_audio(tmp_path / "short.wav", resample(wave[:12000], 16000, 8000), 8000)
    save_audio(tmp_path / "first.wav", wave[:16000], 16000)
    capsys.readouterr()
    assert main(["-m", "inference", "-t", str(tmp_path), "-e", str(trained / "dev-best.ckpt"), "--device", "cpu"]) == 0
    answers = {Path(a["file"]).name: a for a in map(json.loads, capsys.readouterr().out.splitlines())}
    assert set(answers["short.wav"]["probabilities"]) == set(DIGITS)
    assert answers["first.wav"]["probabilities"] == pytest.approx(answers["long.wav"]["probabilities"], abs=1e-5)
