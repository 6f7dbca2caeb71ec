"""What is trained on, which trials there are, and their recordings as waveforms."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from downstream.blocks.voxceleb import Recording, read_trials, scan, speakers_of, wav_folder
from utility.errors import DataError

from .audio import long_enough, read

log = logging.getLogger(__name__)
FETCH = "python3 preprocess/fetch_lists.py --only sv_voxceleb1 fetches it to data/"


def name_of(path: str) -> str:
    """``<speaker>-<video>-<utterance>`` of a recording's path below its part of the corpus, as in the prediction files."""
    return path.removesuffix(".wav").replace("/", "-")


@dataclass(frozen=True)
class TrainingSet:
    """The recordings to train on.

    Args:
        folder: what their paths are below of.
        recordings: the files.
        speakers: all names, sorted; the position in it is a speaker's index.
    """

    folder: Path
    recordings: list[Recording]
    speakers: list[str]


def training_set(root: str, least: int, cache: Path, without: frozenset[str], field: str) -> TrainingSet:
    """All recordings of ``<root>/dev/wav`` with more than ``least`` samples beside their silences.

    Args:
        root: the corpus.
        least: samples at 16 kHz.
        cache: where the lengths are remembered, see :func:`long_enough`.
        without: speakers that are left out.
        field: the config field that errors name.

    Raises:
        DataError: the corpus is missing or damaged, or less than two speakers remain.
    """
    folder = wav_folder(root, "dev", field)
    speakers = [name for name in speakers_of(folder) if name not in without]
    found = [recording for recording in scan(folder) if recording.speaker not in without]
    if not found:
        raise DataError(f"{field}: {folder} holds no <speaker>/<video>/<utterance>.wav" + " of another speaker" * bool(without))
    kept = long_enough(folder, found, least, cache)
    if short := len(found) - len(kept):
        log.warning(
            "%s: %d of %d recordings have at most %d samples beside their silences and are left out", folder, short, len(found), least
        )
    if len({recording.speaker for recording in kept}) < 2:
        raise DataError(
            f"{field}: {folder} has {len(kept)} recordings of more than {least} samples beside their silences, of less than two speakers"
        )
    return TrainingSet(folder, kept, speakers)


@dataclass(frozen=True)
class Trials:
    """Pairs of recordings, each recording being there once.

    Args:
        folder: what the recordings' paths are below of.
        paths: the recordings, in the order in which the list first names them.
        first, second: (trials,) int, positions in ``paths``.
        targets: (trials,) bool, whether one speaker speaks in both.
    """

    folder: Path
    paths: list[str]
    first: np.ndarray
    second: np.ndarray
    targets: np.ndarray

    @property
    def pair_names(self) -> list[str]:
        """``<first>_<second>`` of every trial."""
        names = [name_of(path) for path in self.paths]
        return [f"{names[a]}_{names[b]}" for a, b in zip(self.first, self.second, strict=True)]


def trials_of(root: str, part: str, file: str, fields: tuple[str, str]) -> Trials:
    """The trials of a list.

    Args:
        root: the corpus.
        part: ``"dev"`` or ``"test"``: where the recordings lie.
        file: the list.
        fields: the config fields of root and list, for errors.

    Raises:
        DataError: list or corpus are missing or damaged, or a recording that the list names is not there.
    """
    listed = read_trials(file, fields[1], FETCH)
    folder = wav_folder(root, part, fields[0])
    place = {path: number for number, path in enumerate(dict.fromkeys(path for trial in listed for path in trial[1:]))}
    missing = [path for path in place if not (folder / path).is_file()]
    if missing:
        line = next(number for number, trial in enumerate(listed, 1) if missing[0] in trial[1:])
        raise DataError(
            f"{fields[1]}: trial {line} of {file} names {missing[0]}, which is not in {folder}; "
            f"{len(missing)} of its {len(place)} recordings are missing"
        )
    first, second = (np.array([place[trial[side]] for trial in listed]) for side in (1, 2))
    return Trials(folder, list(place), first, second, np.array([trial.target for trial in listed]))


class TrainingDataset(Dataset):
    """Items are (waveform, name, speaker).

    Args:
        data: what to train on.
        max_timestep: of longer recordings a random stretch of so many samples is taken; None takes them whole.
    """

    def __init__(self, data: TrainingSet, max_timestep: int | None):
        self.data, self.max_timestep = data, max_timestep
        self.index = {name: number for number, name in enumerate(data.speakers)}

    def __len__(self) -> int:
        return len(self.data.recordings)

    def __getitem__(self, number: int) -> tuple[Tensor, str, int]:
        recording = self.data.recordings[number]
        wav = read(self.data.folder / recording.path)
        if self.max_timestep is not None and len(wav) > self.max_timestep:
            start = random.randint(0, len(wav) - self.max_timestep)
            wav = wav[start : start + self.max_timestep]
        return torch.from_numpy(wav), name_of(recording.path), self.index[recording.speaker]


class TrialDataset(Dataset):
    """Items are (waveform, name, samples); recordings that are too short for any upstream have zeros behind their samples.

    Args:
        trials: whose recordings.
        shortest: samples that every waveform has at least.
    """

    def __init__(self, trials: Trials, shortest: int):
        self.trials, self.shortest = trials, shortest

    def __len__(self) -> int:
        return len(self.trials.paths)

    def __getitem__(self, number: int) -> tuple[Tensor, str, int]:
        path = self.trials.paths[number]
        wav = read(self.trials.folder / path)
        return torch.from_numpy(np.pad(wav, (0, max(0, self.shortest - len(wav))))), name_of(path), len(wav)


def collate(items: Sequence[tuple[Tensor, str, int]]) -> tuple[list[Tensor], list[str], list[int]]:
    """``(wavs, names, speakers)`` or ``(wavs, names, samples)``."""
    wavs, names, numbers = zip(*items, strict=True)
    return list(wavs), list(names), list(numbers)
