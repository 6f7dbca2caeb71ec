"""A user's recordings, enhanced at their own rate and channel by channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from downstream.blocks.enhancement.pictures import draw_before_and_after
from utility.audio.io import load_channels, resample, save_audio


@dataclass(frozen=True)
class Opened:
    """A recording as it is.

    Args:
        path: the file.
        samples: (n, channels) float32.
        rate: in Hz.
    """

    path: str
    samples: np.ndarray
    rate: int

    @classmethod
    def of(cls, path: str) -> Opened:
        """Reads all channels.

        Raises:
            DataError: the file cannot be read.
        """
        return cls(path, *load_channels(path))

    def channels(self, rate: int) -> list[Tensor]:
        """(m,) each, at another rate."""
        return [torch.from_numpy(np.ascontiguousarray(resample(channel, self.rate, rate))) for channel in self.samples.T]

    def restored(self, channels: Sequence[Tensor], rate: int) -> np.ndarray:
        """(n, channels): what became of :meth:`channels`, at the recording's own rate and length.

        What a recording of a higher rate holds above half of ``rate`` is lost.
        """
        length = len(self.samples)
        back = [resample(channel.cpu().numpy(), rate, self.rate)[:length] for channel in channels]
        return np.stack([np.pad(channel, (0, length - len(channel))) for channel in back], axis=1)

    def write(self, samples: np.ndarray, path: Path, picture: bool) -> dict[str, str | int]:
        """Writes what became of the recording as WAV, and a picture of both beside it if asked; what an answer says of it."""
        save_audio(path, samples[:, 0] if samples.shape[1] == 1 else samples, self.rate)
        waves = (self.samples.mean(axis=1), samples.mean(axis=1)) if picture else None
        return described(path, self.rate, samples.shape[1], waves)


class Asked:
    """The recording that an answer is wanted for.

    Attributes:
        recording: it; set by :meth:`take`.
    """

    def __init__(self) -> None:
        self.recording: Any = None
        self._opened: Any = None

    def open(self, recording: Any) -> None:
        """A file was opened; it is asked about next."""
        self._opened = recording

    def take(self, wav: Tensor, rate: int) -> Any:
        """The file that was opened last, or, if no file was opened since, the (n,) waveform itself, at ``rate``."""
        opened, self._opened = self._opened, None
        self.recording = opened or Opened("waveform", wav.cpu().numpy()[:, None], rate)
        return self.recording


def described(path: Path, rate: int, channels: int, waves: Sequence[np.ndarray] | None = None) -> dict[str, str | int]:
    """What an answer says of an enhanced recording.

    Args:
        path: the file that was written.
        rate: in Hz.
        channels: their number.
        waves: (n,) before and after, to draw into a picture beside the file.
    """
    answer = {"enhanced": str(path), "sample_rate": rate, "channels": channels}
    if waves:
        drawn = path.with_suffix(".png")
        draw_before_and_after(*waves, rate, drawn)
        answer["spectrograms"] = str(drawn)
    return answer
