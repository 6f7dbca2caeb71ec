"""What the masks learn: more than the best gain for each frequency, on voices that training does not have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from downstream.enhancement_stft.expert import DownstreamExpert
from tests.downstream.enhancement_stft.test_mask_probe import config_of
from tests.downstream.learning import evaluated, train_here
from tests.downstream.speech_enhancement.layouts import valentini
from utility.metrics.enhancement import score_pair

REPO = Path(__file__).resolve().parents[3]
FIELDS = "config.downstream_expert"
OVERRIDE = (
    f"config.runner.total_steps=120,,config.runner.eval_step=60,,config.runner.save_step=120,,config.runner.log_step=30,,"
    f"{FIELDS}.datarc.num_workers=0,,{FIELDS}.modelrc.hidden_size=48,,{FIELDS}.modelrc.num_layers=1,,{FIELDS}.modelrc.dropout=0.0,,"
    f"{FIELDS}.targetrc.metrics=['si_sdr','stoi'],,config.optimizer.lr=5e-3,,{FIELDS}.datarc.root_folder="
)


def best_gains(corpus: Path) -> float:
    """Mean improvement in dB on the test by the gain per frequency that fits the training set best (least squares)."""
    expert = DownstreamExpert(4, 160, config_of("enhancement_stft", datarc={"root_folder": str(corpus)}), expdir=str(corpus))

    def spectra(split: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return [tuple(expert._spectrum(wave) for wave in expert.load(pair)) for pair in expert.read_corpus(split)]

    noisy, clean = (torch.cat(side) for side in zip(*spectra("train"), strict=True))
    gains = (clean * noisy.conj()).real.sum(0) / noisy.abs().square().sum(0)
    improved = []
    for pair in expert.read_corpus("test"):
        noisy, clean = expert.load(pair)
        better = expert.stft.waves((gains * expert._spectrum(noisy)).T, len(noisy))
        before, after = (score_pair(clean.numpy(), wave.numpy(), 16000, ["si-sdr"])["si-sdr"] for wave in (noisy, better))
        improved.append(after - before)
    return float(np.mean(improved))


@pytest.mark.slow
@pytest.mark.parametrize("task", ["enhancement_stft", "enhancement_stft2"])
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.exhaustive), pytest.param(2, marks=pytest.mark.exhaustive)])
def test_masks_beat_the_best_gain_for_each_frequency(tmp_path: Path, task: str, seed: int):
    corpus = valentini(tmp_path / "corpus", speakers=10, clips=6, test=6)
    config = f"downstream/{task}/config.yaml"
    folder = train_here(REPO, tmp_path / "run", task, config, f"{OVERRIDE}{corpus}", "--seed", str(seed))
    reached, baseline = evaluated(folder, "test", "best-states-dev")["scores"]["si_sdr"]["value"], best_gains(corpus)
    print(f"{task}, seed {seed}: SI-SDR improves by {reached:.2f} dB, by the best gains by {baseline:.2f} dB")
    assert reached > baseline + 1
