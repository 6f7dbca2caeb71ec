"""Recordings of digits with their log Mel spectrograms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from downstream.blocks.sc09 import LABELS
from utility.audio.io import load_audio

from .augmentation import Augmentation
from .features import SAMPLE_RATE, LogMel, one_second

Item = tuple[Tensor, Tensor, int, str]


class DigitDataset(Dataset):
    """Items are (waveform of a second, spectrogram (32, 32), label, name); the label is that of the file's folder, -1 for other folders.

    Args:
        files: the recordings.
        features: makes the spectrograms.
        augmentation: changes them; None: they are as they are.
    """

    def __init__(self, files: Sequence[Path], features: LogMel, augmentation: Augmentation | None = None):
        self.files, self.features, self.augmentation = files, features, augmentation

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Item:
        path = self.files[index]
        wave = load_audio(path, SAMPLE_RATE)
        second = one_second(torch.from_numpy(wave))
        image = self.features(second[None])[0] if self.augmentation is None else self.augmentation(wave, self.features)
        return second, image, label_of(path), f"{path.parent.name}-{path.name}"

    @staticmethod
    def collate_fn(items: list[Item]) -> tuple[list[Tensor], Tensor, list[int], list[str]]:
        """``(wavs, images (B, 32, 32), labels, names)``."""
        waves, images, labels, names = zip(*items, strict=True)
        return list(waves), torch.stack(images), list(labels), list(names)


def label_of(path: Path) -> int:
    """The digit of a recording's folder, -1 where it is none."""
    return LABELS.get(path.parent.name, -1)
