"""A user's long recording, enhanced piece by piece: memory does not grow with it, and the result is that of the whole recording.

That is so up to rounding, for networks that see nothing of the future (they go on from their state) and for those that see so many frames
(each piece has these around it). Of a network that sees everything, an LSTM of two directions, each piece has ``MOST`` frames around it;
a warning says so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from downstream.blocks.enhancement.recordings import described
from utility.audio.io import AudioInfo, audio_info, load_audio
from utility.audio.piecewise import Resampler, read_pieces, wav_writer
from utility.audio.stft import Stft, StftOptions

from .masking import mask_of
from .onnx.streamed import MOST, sight_of, stepping
from .onnx.streaming import Masks, PatchMasks, StepMasks, Streamer

log = logging.getLogger(__name__)

LONG_S = 60.0  # longer recordings are taken in pieces
_PIECE_S = 20.0
_PICTURE_S = 60.0  # what a picture shows of them


@dataclass(frozen=True)
class LongRecording:
    """A recording that is left in its file.

    Args:
        path: the file.
        info: what its header says.
    """

    path: str
    info: AudioInfo

    @classmethod
    def of(cls, path: str) -> LongRecording | None:
        """None if it is not long.

        Raises:
            DataError: the file cannot be read.
        """
        info = audio_info(path)
        return cls(path, info) if info.seconds > LONG_S else None

    def enhance(self, model: nn.Module, options: StftOptions, target: Path, picture: bool) -> dict[str, str | int]:
        """Writes the enhanced recording, at its own rate, length and with its channels, as WAV; what an answer says of it.

        Args:
            model: (1, F, T) magnitudes -> mask, in evaluation mode, on any device.
            options: its transform.
            target: the file to write.
            picture: also one of the first minute, before and after.

        Raises:
            DataError: samples are no numbers.
        """
        rate, channels = self.info.sample_rate, self.info.channels
        fresh, frames = masks_in_pieces(model, options), round(_PIECE_S * rate)
        ways = [_Way(rate, options, fresh(), peak) for peak in self._peaks(options, frames)]
        heard = written = 0
        with wav_writer(target, rate, channels) as write:
            for piece in self._shown(read_pieces(self.path, frames), frames):
                heard += len(piece)
                made = np.stack([way.feed(channel) for way, channel in zip(ways, piece.T, strict=True)], axis=1)
                write(made)
                written += len(made)
            rest = np.stack([way.finish() for way in ways], axis=1)[: heard - written]
            write(np.pad(rest, ((0, heard - written - len(rest)), (0, 0))))
        first = [load_audio(path, None, frames=round(_PICTURE_S * rate)) for path in (self.path, target)] if picture else None
        return described(target, rate, channels, first)

    def _shown(self, pieces: Iterator[np.ndarray], frames: int) -> Iterator[np.ndarray]:
        """The pieces, with a progress bar."""
        name, count = Path(self.path).name, -(-self.info.frames // frames)
        yield from tqdm(pieces, desc=name, total=count, unit="piece", dynamic_ncols=True, leave=False)

    def _peaks(self, options: StftOptions, frames: int) -> list[float]:
        """What each channel is divided by before the transform."""
        peaks = np.full(self.info.channels, 0.0 if options.peak_normalize else 1.0)
        if options.peak_normalize:
            to_task = [Resampler(self.info.sample_rate, options.sample_rate) for _ in peaks]
            pieces = read_pieces(self.path, frames)
            for found in (*pieces, np.zeros((0, len(peaks)), np.float32)):
                made = [each.feed(channel, last=not len(found)) for each, channel in zip(to_task, found.T, strict=True)]
                peaks = np.maximum(peaks, [np.abs(channel).max(initial=0) for channel in made])
        return [float(max(peak, np.finfo(np.float32).tiny)) for peak in peaks]


class _Way:
    """One channel from the rate of the file through the network and back."""

    def __init__(self, rate: int, options: StftOptions, masks: Masks, peak: float):
        self._to_task, self._back = Resampler(rate, options.sample_rate), Resampler(options.sample_rate, rate)
        self._streamer, self._peak = Streamer(Stft(replace(options, peak_normalize=False)), masks), np.float32(peak)

    def feed(self, samples: np.ndarray) -> np.ndarray:
        return self._back.feed(self._enhanced(self._to_task.feed(samples)))

    def finish(self) -> np.ndarray:
        last = self._enhanced(self._to_task.feed(np.zeros(0, np.float32), last=True))
        return self._back.feed(np.concatenate([last, self._streamer.finish() * self._peak]), last=True)

    def _enhanced(self, samples: np.ndarray) -> np.ndarray:
        return self._streamer.feed(samples / self._peak) * self._peak


def masks_in_pieces(model: nn.Module, options: StftOptions) -> Callable[[], Masks]:
    """What makes the masks of one channel, anew at each call, in pieces of many frames.

    Args:
        model: the network, on its device.
        options: its transform.
    """
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    mask = mask_of(model, device)
    before, after = sight_of(model, mask, options.bins)
    if not after and hasattr(model, "step"):
        return lambda: StepMasks(stepping(model, device))
    if not hasattr(model, "reach") and max(before, after) >= MOST:
        seconds = MOST * options.hop_length / options.sample_rate
        log.warning("%s sees whole recordings: of long ones, each piece has %.1f s around it", type(model).__name__, seconds)
    patch = round(_PIECE_S * options.sample_rate / options.hop_length)
    return lambda: PatchMasks(mask, patch, after, before)
