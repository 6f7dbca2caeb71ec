"""Turning a diarizer's probabilities into turns: the threshold and the median filter that fit best (spec: downstream-speaker.md 5.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utility.errors import DataError, MissingDependencyError
from utility.metrics.diarization import DiarizationScore, Speakers, pooled, score_recordings
from utility.metrics.rttm import active, turns_of

THRESHOLDS, MEDIANS = (0.3, 0.4, 0.5, 0.6, 0.7), (1, 11)
PREDICTIONS, SETTINGS, HDF5_NAME = "predictions", "settings.yaml", "T_hat"


@dataclass(frozen=True)
class Setting:
    """How probabilities become turns.

    Args:
        threshold: what a probability must exceed.
        median: frames of the median filter; 1 is none.
    """

    threshold: float = 0.5
    median: int = 1

    def __str__(self) -> str:
        return f"threshold {self.threshold:g}, median {self.median}"


def grid(thresholds: Sequence[float] = THRESHOLDS, medians: Sequence[int] = MEDIANS) -> list[Setting]:
    """All pairs, in S3PRL's order: by median, then by threshold."""
    return [Setting(threshold, median) for median in medians for threshold in thresholds]


def turns(probabilities: Mapping[str, np.ndarray], setting: Setting, seconds_per_frame: float) -> dict[str, Speakers]:
    """The turns of every recording; one in which nobody speaks has none.

    Args:
        probabilities: (T, speakers) by recording.
        setting: threshold and median filter.
        seconds_per_frame: of the probabilities.
    """
    return {
        name: turns_of(name, active(values, setting.threshold, setting.median), seconds_per_frame) for name, values in probabilities.items()
    }


def scored_grid(
    probabilities: Mapping[str, np.ndarray], references: Mapping[str, Speakers], seconds_per_frame: float, settings: Sequence[Setting] = ()
) -> dict[Setting, DiarizationScore]:
    """The score of all recordings together with each setting: no collar, overlap scored."""
    return {
        setting: pooled(score_recordings(references, turns(probabilities, setting, seconds_per_frame)).values())
        for setting in settings or grid()
    }


def best(scores: Mapping[Setting, DiarizationScore]) -> Setting:
    """The setting with the lowest DER; of equal ones the nearest to a threshold of 0.5 without a filter."""
    return min(scores, key=lambda setting: (scores[setting].der, abs(setting.threshold - 0.5), setting.median))


def write_prediction(folder: Path, recording: str, probabilities: np.ndarray, suffix: str = "npy") -> None:
    """Writes (T, speakers) float32 as ``<recording>.npy``, or as the ``.h5`` with the dataset ``T_hat`` that S3PRL writes.

    Raises:
        MissingDependencyError: ``.h5`` without the package h5py.
    """
    if suffix == "npy":
        np.save(folder / f"{recording}.npy", probabilities)
        return
    with _h5py().File(folder / f"{recording}.h5", "w") as file:
        file.create_dataset(HDF5_NAME, data=probabilities)


def read_predictions(folder: Path) -> dict[str, np.ndarray]:
    """(T, speakers) by recording, from ``.npy`` or S3PRL's ``.h5``.

    Raises:
        DataError: there are none, or one cannot be read.
        MissingDependencyError: ``.h5`` without the package h5py.
    """
    paths = sorted([*folder.glob("*.npy"), *folder.glob("*.h5")])
    if not paths:
        raise DataError(f"there are no predictions (*.npy or *.h5) in {folder}")
    return {path.stem: _read(path) for path in paths}


def _read(path: Path) -> np.ndarray:
    try:
        if path.suffix == ".npy":
            found = np.load(path, allow_pickle=False)
        else:
            with _h5py().File(path) as file:
                found = file[HDF5_NAME][()]
    except (ValueError, OSError, EOFError, KeyError) as error:
        raise DataError(f"prediction {path} cannot be read: {error}") from error
    if found.ndim != 2:
        raise DataError(f"prediction {path} has the shape {found.shape}, not (frames, speakers)")
    return found


def _h5py():
    try:
        import h5py
    except ImportError as error:
        raise MissingDependencyError("h5py", "a prediction in .h5") from error
    return h5py
