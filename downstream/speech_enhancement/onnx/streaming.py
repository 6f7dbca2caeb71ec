"""Enhancement of audio while it comes in: samples in, samples out, with a delay that is known beforehand.

What comes out is what :func:`~downstream.speech_enhancement.masking.enhance` makes of the whole recording, if the network sees to each side
all the frames that reach its mask.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import scipy.fft

from utility.audio.stft import Stft
from utility.errors import ConfigError

from ..masking import Mask
from .overlap import OverlapAdd

_PROBES = 3


class Masks(Protocol):
    """Frames in, masks out in the same order."""

    delay: int  # frames that come after one before its mask is there, at most

    def push(self, magnitudes: np.ndarray) -> np.ndarray:
        """(F, n) -> (F, m) masks that have become known."""

    def finish(self) -> np.ndarray:
        """(F, m) the masks of the frames that wait for others, which will not come."""


class PatchMasks:
    """The network on windows of P frames, with H frames before them and L after them, whose masks do not count.

    Where the network takes any length, the windows of the ends have no frames beyond the recording, so that H and L frames, if the network
    looks no further, give what the whole recording gives. A network of a fixed length gets zeros there, which it takes for frames.

    Args:
        mask: (1, F, T) -> (1, F, T).
        patch: P, frames of an advance.
        lookahead: L.
        history: H; L by default.
        fixed: the network takes H + P + L frames only.
    """

    def __init__(self, mask: Mask, patch: int, lookahead: int, history: int | None = None, fixed: bool = False):
        self.delay = lookahead + patch - 1
        self._mask, self._patch, self._ahead, self._fixed = mask, patch, lookahead, fixed
        self._history = lookahead if history is None else history
        self._frames: np.ndarray | None = None
        self._past = 0  # frames in front whose masks are out

    def push(self, magnitudes: np.ndarray) -> np.ndarray:
        if self._frames is None:
            self._past = self._history if self._fixed else 0
            self._frames = np.zeros((len(magnitudes), self._past), np.float32)
        self._frames = np.concatenate([self._frames, magnitudes], axis=1)
        found = [np.zeros((len(magnitudes), 0), np.float32)]
        while self._frames.shape[1] >= self._past + self._patch + self._ahead:
            found.append(self._next(self._patch))
        return np.concatenate(found, axis=1)

    def finish(self) -> np.ndarray:
        if self._frames is None:
            return np.zeros((1, 0), np.float32)
        left = self._frames.shape[1] - self._past
        if self._fixed:
            self._frames = np.pad(self._frames, ((0, 0), (0, self._patch + self._ahead)))
        found = [np.zeros((len(self._frames), 0), np.float32)]
        while left > 0:
            found.append(self._next(self._patch)[:, :left])
            left -= self._patch
        return np.concatenate(found, axis=1)

    def _next(self, count: int) -> np.ndarray:
        """The masks of up to ``count`` frames after those that are out."""
        stop = self._past + count
        masks = self._mask(self._frames[None, :, : stop + self._ahead])[0, :, self._past : stop]
        gone = max(0, stop - self._history)
        self._frames, self._past = self._frames[:, gone:], stop - gone
        return masks


class StepMasks:
    """A causal network from state to state.

    Args:
        step: frames (1, F, n) and state (None at the beginning) -> masks (1, F, n) and the next state.
    """

    delay = 0

    def __init__(self, step: Callable[[np.ndarray, Any], tuple[np.ndarray, Any]]):
        self._step, self._state = step, None

    def push(self, magnitudes: np.ndarray) -> np.ndarray:
        if not magnitudes.shape[1]:
            return magnitudes
        masks, self._state = self._step(magnitudes[None], self._state)
        return masks[0]

    def finish(self) -> np.ndarray:
        return np.zeros((1, 0), np.float32)


class Streamer:
    """One recording in pieces of any length.

    Args:
        stft: the transform; centred and without peak normalisation, which needs the whole recording.
        masks: of one recording.

    Attributes:
        delay: samples that a sample waits for at most: the window, and the frames that its mask needs.

    Raises:
        ConfigError: the transform cannot be streamed.
    """

    def __init__(self, stft: Stft, masks: Masks):
        o = stft.options
        faults = ["center: False has no inverse"] if not o.center else []
        faults += ["peak_normalize: True needs the whole recording"] if o.peak_normalize else []
        if faults:
            raise ConfigError(faults, "preprocessing cannot be streamed")
        self._options, self._masks = o, masks
        self._window = stft.window.cpu().numpy()
        self.delay = o.win_length + masks.delay * o.hop_length
        self._offset = (o.n_fft - o.win_length) // 2  # of the window within a frame of the transform
        self._samples = np.zeros(o.n_fft // 2 - self._offset, np.float32)
        self._spectrum = np.zeros((o.bins, 0), np.complex64)
        self._adder = OverlapAdd(o.hop_length, self._window**2)
        self._early = len(self._samples)  # samples of the result that lie before the recording
        self._heard = self._said = 0

    def feed(self, samples: np.ndarray) -> np.ndarray:
        """(n,) float32 -> (m,) enhanced samples that have become final."""
        self._heard += len(samples)
        return self._masked(samples, last=False)

    def finish(self) -> np.ndarray:
        """(m,) the rest; all pieces together have hop_length (T - 1) samples, as the inverse of the whole recording has."""
        o = self._options
        odd = o.n_fft % 2
        total = (self._heard - odd) // o.hop_length * o.hop_length + odd
        tail = o.n_fft - o.win_length - self._offset
        rest = self._masked(np.zeros(o.n_fft // 2 - tail, np.float32), last=True)
        rest = np.concatenate([rest, self._cut(self._adder.rest())])
        said, self._said = self._said - len(rest), total
        return rest[: total - said]

    def _masked(self, samples: np.ndarray, last: bool) -> np.ndarray:
        o = self._options
        spectrum = self._spectra(samples)
        magnitude = np.abs(spectrum)
        masks = self._masks.push(magnitude if o.power == 1 else magnitude**o.power)
        self._spectrum = np.concatenate([self._spectrum, spectrum], axis=1)
        if last and self._spectrum.shape[1] > masks.shape[1]:
            masks = np.concatenate([masks, self._masks.finish()], axis=1)
        done, self._spectrum = self._spectrum[:, : masks.shape[1]], self._spectrum[:, masks.shape[1] :]
        frames = scipy.fft.irfft((done * masks).T, o.n_fft)[:, self._offset : self._offset + o.win_length]
        return self._cut(self._adder.add(frames.astype(np.float32) * self._window))

    def _spectra(self, samples: np.ndarray) -> np.ndarray:
        """(F, T) of the frames whose windows have come in whole."""
        o = self._options
        self._samples = np.concatenate([self._samples, samples.astype(np.float32)])
        count = max(0, 1 + (len(self._samples) - o.win_length) // o.hop_length)
        if not count:
            return np.zeros((o.bins, 0), np.complex64)
        frames = np.lib.stride_tricks.sliding_window_view(self._samples, o.win_length)[: count * o.hop_length : o.hop_length] * self._window
        self._samples = self._samples[count * o.hop_length :]
        tail = o.n_fft - o.win_length - self._offset
        return scipy.fft.rfft(np.pad(frames, ((0, 0), (self._offset, tail)))).T

    def _cut(self, samples: np.ndarray) -> np.ndarray:
        """Without what lies before the recording."""
        early = min(self._early, len(samples))
        self._early -= early
        self._said += len(samples) - early
        return samples[early:]


def reach(mask: Mask, bins: int, most: int = 400) -> tuple[int, int]:
    """Frames before and after one that change its mask, by trying: one frame is changed, and the masks that differ are looked for.

    What a recurrent network has forgotten so far that no bit of a mask changes does not count.

    Args:
        mask: a float network that takes any length.
        bins: F.
        most: frames that are looked at; a network that sees further, or all, has this figure.
    """
    before = after = 0
    for probe in range(_PROBES):
        for changed in (0, most):
            rng = np.random.default_rng([probe, changed])
            clip = np.abs(rng.normal(size=(1, bins, most + 1))).astype(np.float32)
            other = clip.copy()
            other[..., changed] += 10 * np.abs(rng.normal(size=bins)).astype(np.float32)
            differs = np.flatnonzero((mask(clip) != mask(other)).any(axis=(0, 1)))
            if len(differs):
                before, after = max(before, int(differs[-1]) - changed), max(after, changed - int(differs[0]))
    return before, after
