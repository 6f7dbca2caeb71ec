"""Pseudo data: noise with a beeping chord, which is the class. Replace this file by the dataset of your own task.

An item is made anew at every access and takes its randomness from torch's global generator alone. The Runner seeds that generator per
sample, so the same seed gives the same data in every run, with any number of workers, and after a resume.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.utils.data import Dataset

SAMPLE_RATE = 16000
CLASS_NUM = 48
MIN_SECONDS, MAX_SECONDS = 5, 20

TONES, CHORD = 24, 8  # a class is a chord of 8 out of 24 tones ...
LOWEST_HZ, HIGHEST_HZ = 300.0, 7000.0
PERIOD, BEEP = 6400, 1280  # ... that beeps for 80 ms every 400 ms: rare enough to survive mean and variance normalisation
NOISE_LEVEL, BEEP_LEVEL = 0.03, 0.05

# What `inference` calls the classes.
CLASS_NAMES = [f"chord {label}" for label in range(CLASS_NUM)]


def chord(label: int) -> Tensor:
    """The frequencies of a class in Hz, shape (8,); always the same 8 out of 24 that are equally far apart in mel."""
    low, high = (1127.0 * math.log1p(hz / 700.0) for hz in (LOWEST_HZ, HIGHEST_HZ))
    tones = 700.0 * torch.expm1(torch.linspace(low, high, TONES) / 1127.0)
    return tones[torch.randperm(TONES, generator=torch.Generator().manual_seed(label))[:CHORD]]


def pseudo_wav(label: int, length: int) -> Tensor:
    """A waveform of one class.

    Args:
        label: the class, 0 to 47.
        length: the number of samples.

    Returns:
        float32 of shape (length,): white noise with beeps of the class's chord at random loudness, phases and offset.
    """
    wav = torch.randn(length).mul_(NOISE_LEVEL)
    loudness = BEEP_LEVEL * (0.5 + torch.rand(1))
    phases = 2 * math.pi * torch.rand(CHORD, 1)
    time = torch.arange(BEEP) / SAMPLE_RATE
    beep = torch.sin(2 * math.pi * chord(label).unsqueeze(1) * time + phases).sum(dim=0) * torch.hann_window(BEEP) * loudness
    start = int(torch.randint(PERIOD, (1,)))
    count = (length - start) // PERIOD
    wav[start : start + count * PERIOD].view(count, PERIOD)[:, :BEEP] += beep
    return wav


class PseudoDataset(Dataset):
    """``size`` items of a random class and a random length between 5 and 20 seconds."""

    def __init__(self, size: int):
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        label = int(torch.randint(CLASS_NUM, (1,)))
        length = int(torch.randint(MIN_SECONDS * SAMPLE_RATE, MAX_SECONDS * SAMPLE_RATE + 1, (1,)))
        return pseudo_wav(label, length), label

    @staticmethod
    def collate_fn(samples: list[tuple[Tensor, int]]) -> tuple[list[Tensor], list[int]]:
        """``(wavs, labels)``: the waveforms always come first, as an unpadded list; whatever follows goes to ``forward`` as it is."""
        wavs, labels = zip(*samples, strict=True)
        return list(wavs), list(labels)
