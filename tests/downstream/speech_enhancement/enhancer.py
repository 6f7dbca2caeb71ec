"""An expert as the operations know it: a small network, a transform, settings and recordings in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from downstream.interfaces import RunContext
from downstream.speech_enhancement.models.tcnn import STFTTCNN
from utility.audio.stft import Stft, StftOptions


@dataclass
class Enhancer:
    """What ``downstream/speech_enhancement/expert.py`` offers to the operations.

    Args:
        expdir: the experiment folder.
        settings: the section downstream_expert.
        pairs: noisy and clean waveforms by split and name.
    """

    expdir: Path
    settings: dict[str, Any] = field(default_factory=dict)
    pairs: dict[str, dict[str, tuple[Tensor, Tensor]]] = field(default_factory=dict)
    model: nn.Module = field(default_factory=lambda: STFTTCNN(257, 24, 2, 3, mask_activation="sigmoid"))
    stft: Stft = field(default_factory=lambda: Stft(StftOptions()))

    def corpus_of(self, split: str) -> list[SimpleNamespace]:
        return [SimpleNamespace(name=name, split=split) for name in self.pairs[split]]

    def load(self, pair: SimpleNamespace) -> tuple[Tensor, Tensor]:
        return self.pairs[pair.split][pair.name]


def context_of(expert: Enhancer, checkpoint: str = "dev-best") -> RunContext:
    return RunContext(lambda wavs: wavs, expert.expdir / "results" / checkpoint, "cpu", 0)


def made_up(count: int, seed: int = 0, samples: int = 8000) -> dict[str, tuple[Tensor, Tensor]]:
    """Tones in noise."""
    rng, found = np.random.default_rng(seed), {}
    for number in range(count):
        time = np.arange(samples + 160 * number) / 16000
        clean = 0.3 * np.sin(2 * np.pi * (200 + 50 * number) * time) * (np.sin(2 * np.pi * 4 * time) > 0)
        noisy = clean + rng.normal(0, 0.05, len(clean))
        found[f"clip{number}"] = torch.from_numpy(noisy).float(), torch.from_numpy(clean).float()
    return found
