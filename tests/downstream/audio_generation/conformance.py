"""The smallest form of the task, for the tests that every task has to pass."""

from __future__ import annotations

from pathlib import Path

from tests.downstream.audio_generation.layouts import EXPERT, config, sc09

VARIANTS = ("samplernn", "sashimi", "wavenet", "unet", "diffwave")
SLOW = ("wavenet", "unet", "diffwave")
EXTRA = {
    "samplernn": {"tbptt": {"chunk_len": 64, "overlap_len": 16, "drop_tail": False}, "clip_value": 1.0, "ema": 0.9},
    "diffwave": {"ema": 0.9, "diffusion": {"T": 5}},
}


def prepare(place: Path, family: str) -> dict[str, str]:
    """Tones, and a small network; SampleRNN goes chunk by chunk, with averaged weights; DiffWave finds noise."""
    root = sc09(place / "sc09")
    path = config(place, root, family, **EXTRA.get(family, {}))
    override = f"{EXPERT}.datarc.batch_size=3,,{EXPERT}.datarc.sample_len=512"
    return {"upstream": "waveform", "override": override, "config": str(path)}
