"""From a corpus to scores: a network generates, a classifier measures what it wrote; they know each other by files only."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from downstream.audio_generation.mturk import turk_create_batch
from run_downstream import main
from tests.downstream.audio_generation.layouts import EXPERT, config, sc09
from tests.downstream.sc09_classifier.layouts import DATARC, MODELRC, stepped
from utility.text.natural import natural

COUNT = 24
RUNNER = "config.runner.total_steps=2,,config.runner.eval_step=2,,config.runner.save_step=2,,config.runner.tensorboard=False"


@pytest.mark.slow
def test_generated_recordings_are_measured(tmp_path: Path):
    root, samples = sc09(tmp_path / "sc09", takes=8), tmp_path / "24-sashimi"

    def call(*words: str) -> None:
        assert main([*words, "--device", "cpu"]) == 0

    generator, classifier = tmp_path / "generator", tmp_path / "classifier"
    written = config(tmp_path / "config", root, "sashimi")
    call("-m", "train", "-u", "waveform", "-d", "audio_generation", "-c", str(written), "-p", str(generator))
    wanted = f"{EXPERT}.generate.n_samples={COUNT},,{EXPERT}.generate.l_sample=256,,{EXPERT}.generate.save_dir={samples}"
    call("-m", "evaluate", "-t", "generate", "-e", str(generator / "dev-best.ckpt"), "-o", wanted)

    override = f"{RUNNER},,{DATARC}.path={root},,{DATARC}.batch_size=20,,{DATARC}.num_workers=0,,{MODELRC}"
    words = ["-u", "waveform", "-d", "sc09_classifier", "-c", str(stepped(tmp_path)), "-p", str(classifier)]
    call("-m", "train", *words, "-o", override)
    section = f"{EXPERT}.samples"
    measured = f"{section}.dir={samples},,{section}.threshold=True,,{section}.save_probs=True"
    call("-m", "evaluate", "-t", "samples", "-e", str(classifier / "dev-least-loss.ckpt"), "-o", measured)

    files = sorted((path.name for path in samples.glob("*.wav")), key=natural)
    assert [name.rsplit("_", 1)[1] for name in files] == [f"{number}.wav" for number in range(1, COUNT + 1)]
    (likelihoods,) = samples.glob("*_logprobs.npy")
    assert (np.diff(np.load(likelihoods)) >= 0).all()  # what thresholds are tuned on: ascending, in the order of the files
    assert np.load(classifier / "cache/24-sashimi-resnext-probs.npy").shape == (COUNT, 10)
    scores = json.loads((classifier / "results/dev-least-loss/samples-24-sashimi.json").read_text())["scores"]
    assert {"tuned_fid", "released_is", "tuned_ndb"} <= set(scores)
    assert all(np.isfinite(score["value"]) for score in scores.values())

    words = ["--condition", "digits", "--input_dir", str(tmp_path), "--output_dir", str(tmp_path / "final"), "--batch_size", "8"]
    assert turk_create_batch.main([*words, "--methods", samples.name]) == 0
