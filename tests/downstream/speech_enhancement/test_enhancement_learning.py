"""Does enhancement learn? On synthetic speakers and noises that the training does not have, and on real speech in real noise."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from run_downstream import main
from tests.downstream.seeds import SEEDS
from tests.downstream.speech_enhancement.layouts import DATASET
from tests.support.corpora import synthetic
from utility.audio.io import find_audio, load_audio, save_audio

CONFIG = "downstream/speech_enhancement/small.yaml"
LEAST_DB, LEAST_PESQ = 4.0, 0.15  # by how much SI-SNR and PESQ have to be above those of the noisy recordings
MOST_LOST = 0.1  # of PESQ, to eight bits
RATE = 16000


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic("valentini", tmp_path_factory.mktemp("valentini"), "small")


@pytest.fixture(scope="module", params=SEEDS)
def trained(repo: Path, corpus: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """The printed training, without its table for TensorBoard."""
    folder = tmp_path_factory.mktemp("trained")
    words = ["-m", "train", "-u", "stft_mag", "-d", "speech_enhancement", "-c", str(repo / CONFIG), "-p", str(folder), "--device", "cpu"]
    more = "config.runner.tensorboard=False,,config.downstream_expert.training.num_dataloader_workers=0"
    assert main([*words, "--seed", str(request.param), "-o", f"{DATASET}.root_folder={corpus},,{more}"]) == 0
    return folder


def scores_of(folder: Path, *words: str) -> dict[str, float]:
    """What ``-m evaluate -t test`` finds."""
    assert main(["-m", "evaluate", "-t", "test", "-e", str(folder / "dev-best.ckpt"), "--device", "cpu", *words]) == 0
    scores = json.loads((folder / "results/dev-best/test.json").read_text())["scores"]
    return {name: score["value"] for name, score in scores.items()}


@pytest.mark.slow
def test_unseen_speakers_in_unseen_noises(trained: Path, capsys: pytest.CaptureFixture):
    pytest.importorskip("pesq")
    scores = scores_of(trained)
    with capsys.disabled():
        print({name: round(value, 3) for name, value in scores.items()})
    assert scores["si-snr"] - scores["noisy_si-snr"] > LEAST_DB
    assert scores["pesq"] - scores["noisy_pesq"] > LEAST_PESQ
    assert scores["stoi"] > scores["noisy_stoi"]


@pytest.mark.slow
def test_int8_is_as_good(trained: Path, corpus: Path, capsys: pytest.CaptureFixture):
    pytest.importorskip("pesq")
    for name in ("quantize", "evaluate", "evaluate_quantized"):
        assert main(["-m", "evaluate", "-t", name, "-e", str(trained / "dev-best.ckpt"), "--device", "cpu"]) == 0
    float_, int8 = (
        json.loads((trained / f"results/dev-best/{name}.json").read_text())["scores"] for name in ("evaluate", "evaluate_quantized")
    )
    size = json.loads((trained / "results/dev-best/quantize.json").read_text())["scores"]["size_ratio"]["value"]
    with capsys.disabled():
        print(
            {name: (round(float_[name]["value"], 3), round(int8[name]["value"], 3)) for name in ("pesq", "stoi", "si-snr")}, f"{size:.1f} %"
        )
    assert int8["pesq"]["value"] > float_["pesq"]["value"] - MOST_LOST
    assert size <= 35


@pytest.mark.slow
def test_real_speech_in_real_noise(trained: Path, shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    """LibriSpeech in what a microphone heard at home, at 5 dB; nothing of the kind was in the training."""
    pytest.importorskip("pesq")
    (file,) = (shared / "data/cmu_arctic_mini").rglob("doing_the_dishes.wav")
    noise, rng = load_audio(file, RATE), np.random.default_rng(0)
    for number, path in enumerate(find_audio(shared / "data/librispeech_mini")[:12]):
        clean = load_audio(path, RATE)[: 6 * RATE]
        start = rng.integers(0, len(noise) - len(clean))
        part = noise[start : start + len(clean)]
        part = part * np.sqrt(np.sum(clean**2) / np.sum(part**2) / 10**0.5)
        for side, wav in (("clean", clean), ("noisy", clean + part)):
            save_audio(tmp_path / f"{side}_testset_wav/{number}.wav", wav, RATE, "FLOAT")
    scores = scores_of(trained, "-o", f"{DATASET}.root_folder={tmp_path}")
    with capsys.disabled():
        print({name: round(value, 3) for name, value in scores.items()})
    assert scores["si-snr"] > scores["noisy_si-snr"] + 1
    assert scores["pesq"] > scores["noisy_pesq"]
