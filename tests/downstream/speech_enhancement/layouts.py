"""Small corpora in the layout of VoiceBank-DEMAND: harmonic sounds of several speakers, in noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.support.configs import counted_in_updates
from utility.audio.io import save_audio

TASK = Path(__file__).resolve().parents[3] / "downstream/speech_enhancement"
RATE = 16000
DATASET, TRAINING = "config.downstream_expert.dataset", "config.downstream_expert.training"
SMALL = ",,".join(f"config.downstream_expert.model_specific.{field}" for field in ("tcn_latent_dim=8", "n_blocks=1", "num_layers=2"))
MEASURED = f"{TRAINING}.metrics=['stoi','snr','si-snr','mse'],,{TRAINING}.reference_metric=si-snr"


def voice(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Harmonics whose pitch and loudness swing, as a syllable's do."""
    time = np.arange(int(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(rng.uniform(100, 240) * (1 + 0.1 * np.sin(2 * np.pi * time))) / RATE
    tone = sum(np.sin(n * phase) / n for n in range(1, 9))
    return (0.1 * tone * (1 + np.sin(2 * np.pi * 4 * time + rng.uniform(0, 6)))).astype(np.float32)


def valentini(root: Path, speakers: int = 3, clips: int = 2, test: int = 2, seconds: tuple[float, float] = (0.5, 0.8)) -> Path:
    """``noisy_trainset_28spk_wav`` and the other three folders below ``root``."""
    rng = np.random.default_rng(0)
    names = [f"p{230 + speaker}_{clip:03}" for speaker in range(speakers) for clip in range(clips)]
    for part, wanted in (("trainset_28spk", names), ("testset", [f"p257_{clip:03}" for clip in range(test)])):
        for name in wanted:
            clean = voice(rng, rng.uniform(*seconds))
            noisy = clean + 0.05 * rng.standard_normal(len(clean)).astype(np.float32)
            for side, wav in (("clean", clean), ("noisy", noisy)):
                save_audio(root / f"{side}_{part}_wav" / f"{name}.wav", wav, RATE)
    return root


def override(root: Path, *more: str) -> str:
    """A small network on such a corpus, without PESQ, which tests of other things need not have."""
    data = [f"{DATASET}.root_folder={root}", f"{DATASET}.num_validation_samples=None", f"{TRAINING}.batch_size=2"]
    return ",,".join([*data, SMALL, MEASURED, *more])


def stepped(place: Path) -> Path:
    """The task's config without what it counts in epochs, so that a test can count in updates."""
    return counted_in_updates(TASK, place)
