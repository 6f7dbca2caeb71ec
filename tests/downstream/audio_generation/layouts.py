"""Corpora that take no time to make: sounds that anybody can predict, in the layouts of SC09 and of a folder of music."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import yaml

from downstream.blocks.sc09 import DIGITS, LISTS
from tests.downstream.audio_generation.families import SMALL

TASK = Path(__file__).resolve().parents[3] / "downstream" / "audio_generation"
RATE = 16000
EXPERT = "config.downstream_expert"


def tone(samples: int, seed: int) -> np.ndarray:
    """A tone of its own pitch and loudness."""
    rng = np.random.default_rng(seed)
    return (rng.uniform(0.1, 0.5) * np.sin(2 * np.pi * rng.uniform(0.01, 0.05) * np.arange(samples))).astype(np.float32)


def sc09(place: Path, takes: int = 4, longest: int = 400) -> Path:
    """``<digit>/<take>.wav`` of up to ``longest`` samples, one take of each digit on either list."""
    rng = np.random.default_rng(0)
    for number, digit in enumerate(DIGITS):
        for take in range(takes):
            path = place / digit / f"{take}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, tone(int(rng.integers(longest // 2, longest + 1)), 10 * number + take), RATE)
    for take, file in enumerate(LISTS.values()):
        (place / file).write_text("".join(f"{digit}/{take}.wav\n" for digit in DIGITS))
    return place


def config(place: Path, root: Path, family: str, **expert: object) -> Path:
    """A config file for a small network on such a corpus."""
    place.mkdir(parents=True, exist_ok=True)
    content = {
        "runner": {
            "total_steps": 4,
            "gradient_clipping": 1.0e9,
            "gradient_accumulate_steps": 1,
            "log_step": 2,
            "eval_step": 2,
            "save_step": 2,
            "max_keep": 2,
            "eval_dataloaders": ["val", "test"],
            "tensorboard": False,
        },
        "optimizer": {"name": "TorchOptim", "torch_optim_name": "AdamW", "lr": 1.0e-3, "weight_decay": 0.01},
        "downstream_expert": {
            "datarc": {"_name_": "sc09", "path": str(root), "batch_size": 3},
            "modelrc": dict(SMALL[family]),
            "generate": {"n_samples": 4, "l_sample": 64},
            **expert,
        },
    }
    path = place / f"{family}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path
