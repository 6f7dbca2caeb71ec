"""Does the classifier learn spoken digits of voices that it never heard, and do its metrics tell good recordings from bad ones?"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from downstream.blocks.sc09 import sc09_files
from downstream.sc09_classifier.dataset import label_of
from run_downstream import main
from tests.downstream.baselines import baselines
from tests.downstream.sc09_classifier.layouts import DATARC
from tests.downstream.seeds import SEEDS
from tests.support.corpora import synthetic
from utility.audio.io import load_audio, save_audio

CONFIG = "downstream/sc09_classifier/small.yaml"
LEAST = 0.9
SECTION = "config.downstream_expert.samples"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic("sc09", tmp_path_factory.mktemp("corpus"), "small", jobs=None) / "sc09"


def call(*words: str) -> None:
    assert main([*words, "--device", "cpu"]) == 0


def heard(files: list[Path]):
    return ((load_audio(path, 16000), label_of(path)) for path in files)


def scores(path: Path) -> dict[str, float]:
    return {name: score["value"] for name, score in json.loads(path.read_text())["scores"].items()}


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_digits_of_unseen_voices(repo: Path, corpus: Path, tmp_path: Path, seed: int):
    """Accuracy beside the baselines; then FID and Inception Scores of the test set, of the same in noise, and of noise alone."""
    exp = tmp_path / "exp"
    words = ["-m", "train", "-u", "waveform", "-d", "sc09_classifier", "-c", str(repo / CONFIG), "-p", str(exp), "--seed", str(seed)]
    call(*words, "-o", f"{DATARC}.path={corpus}")
    call("-m", "evaluate", "-t", "test", "-e", str(exp / "dev-best.ckpt"))
    results = exp / "results/dev-best"
    accuracy = scores(results / "test.json")["acc"]
    train, test = (sc09_files(corpus, split, "path") for split in ("train", "test"))
    beaten = baselines(heard(train), heard(test))
    print(f"seed {seed}: " + beaten.beside("test", accuracy))
    assert accuracy > LEAST
    assert 1 - accuracy <= beaten.error_to_halve / 2

    rng, found = np.random.default_rng(0), {}
    for name, noise in (("clean", 0.0), ("noisy", 0.1), ("noise", None)):
        for number, path in enumerate(test):
            wave = load_audio(path, 16000)
            heavy = rng.standard_normal(len(wave)) * 0.1
            save_audio(tmp_path / name / f"{number}.wav", heavy if noise is None else wave + noise * heavy / 0.1, 16000, "FLOAT")
        call("-m", "evaluate", "-t", "samples", "-e", str(exp / "dev-best.ckpt"), "-o", f"{SECTION}.dir={tmp_path / name}")
        found[name] = scores(results / f"samples-{name}.json")
        shutil.rmtree(tmp_path / name)
    print({name: {key: round(value, 3) for key, value in values.items()} for name, values in found.items()})
    assert found["clean"]["fid"] < found["noisy"]["fid"] < found["noise"]["fid"]
    assert found["clean"]["is"] > found["noisy"]["is"] > found["noise"]["is"]
    assert found["clean"]["mis"] > found["noise"]["mis"]
    assert found["clean"]["am"] < found["noise"]["am"]
    assert found["clean"]["ndb"] < found["noise"]["ndb"]
