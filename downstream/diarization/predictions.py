"""What an evaluation leaves for the scoring programs (spec: downstream-speaker.md 5.5).

scoring/predictions/<recording>.npy    probabilities (T, speakers) of the test split; scoring-dev/ has those of dev
scoring/settings.yaml                  samples per frame and per second, what was chosen on dev
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import yaml

from utility.metrics.diarization_tuning import PREDICTIONS, SETTINGS, Setting, write_prediction

from .dataset import Framing

PREDICTION_FORMATS = ("npy", "h5")


def stacked(places: list[tuple[str, int]], probabilities: list[np.ndarray]) -> dict[str, np.ndarray]:
    """The chunks of each recording put together in time, sorted by recording.

    Args:
        places: recording and first frame of each chunk.
        probabilities: (T_i, speakers) of each.
    """
    order = sorted(range(len(places)), key=lambda index: tuple(places[index]))
    found: dict[str, list[np.ndarray]] = {}
    for index in order:
        found.setdefault(places[index][0], []).append(probabilities[index])
    return {name: np.concatenate(parts) for name, parts in found.items()}


def write_scoring(
    results_dir: Path, split: str, probabilities: dict[str, np.ndarray], framing: Framing, chosen: Setting | None, suffix: str
) -> None:
    """Writes the predictions of a split; those of an earlier evaluation go once all are written."""
    folder = results_dir / ("scoring" if split == "test" else f"scoring-{split}")
    (folder / PREDICTIONS).mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=f".{PREDICTIONS}-") as draft:
        for name, values in probabilities.items():
            write_prediction(Path(draft), name, values, suffix)
        for old in [*(folder / PREDICTIONS).glob("*.npy"), *(folder / PREDICTIONS).glob("*.h5")]:
            old.unlink()
        for new in Path(draft).iterdir():
            new.replace(folder / PREDICTIONS / new.name)
    known = {"frame_shift": framing.shift, "sample_rate": framing.rate, "chosen_on_dev": asdict(chosen) if chosen else None}
    (folder / SETTINGS).write_text(yaml.safe_dump(known, sort_keys=False))
