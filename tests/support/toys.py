"""Experiments on the toy plugins: their configs and command lines."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

PLUGINS = Path(__file__).resolve().parent / "plugins"

# No period divides another, nor the length of the run; 10 batches an epoch, 3 an update, so that updates cross the epochs' ends.
CONFIG: dict[str, Any] = {
    "runner": {
        "total_steps": 17,
        "gradient_clipping": 1,
        "gradient_accumulate_steps": 3,
        "log_step": 3,
        "eval_step": 5,
        "save_step": 4,
        "max_keep": 2,
        "eval_dataloaders": ["dev", "test"],
        "tensorboard": False,
    },
    "optimizer": {"name": "AdamW", "lr": 0.01},
    "scheduler": {"name": "linear_schedule_with_warmup", "num_warmup_steps": 4},
    "specaug": {"apply_time_warp": False, "freq_mask_width_range": [0, 3], "time_mask_width_range": [0, 4]},
    "downstream_expert": {"datarc": {"num_workers": 0, "batch_size": 2, "sizes": {"train": 20, "dev": 7, "test": 4, "one": 2}}},
}


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes`` in its nested sections; None removes a field."""
    result = copy.deepcopy(dict(base))
    for key, value in changes.items():
        result[key] = merged(result[key], value) if isinstance(value, Mapping) and isinstance(result.get(key), Mapping) else value
    return {key: value for key, value in result.items() if value is not None}


def write_config(path: Path, **changes: Any) -> Path:
    """Writes :data:`CONFIG` with changes as yaml."""
    path.write_text(yaml.safe_dump(merged(CONFIG, changes)))
    return path


def plugins(task: str = "toy_task") -> list[str]:
    """The options that name the toy upstream and a toy task."""
    return ["-u", str(PLUGINS / "toy_upstream"), "-d", str(PLUGINS / task)]


def training(folder: Path, config: Path, *more: str, task: str = "toy_task") -> list[str]:
    """The words of a training that resumes by itself."""
    return ["-a", "-m", "train", "-p", str(folder), "-c", str(config), "--device", "cpu", *plugins(task), *more]
