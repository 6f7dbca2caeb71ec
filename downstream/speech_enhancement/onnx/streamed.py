"""Recordings through a streamer as they would come in: speed, delay, and how far the result is from that of the whole recording."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from downstream.interfaces import Score
from downstream.speech_enhancement.masking import Mask, enhance
from downstream.speech_enhancement.onnx.streaming import Masks, PatchMasks, StepMasks, Streamer, lookahead
from utility.audio.stft import Stft

log = logging.getLogger(__name__)


def masks_of(model: nn.Module, mask: Mask, bins: int, patch: int | None, ahead: int | None) -> Callable[[], Masks]:
    """What makes the masks of one recording, of a fresh one at each call.

    A network with a method ``step`` (frame, state or None -> mask, state) is run frame by frame, unless patches are asked for.

    Args:
        model: the network.
        mask: the same one as a function, any length.
        bins: F.
        patch: frames of an advance; one frame, or with a network that sees the future as many as it sees, by default.
        ahead: frames of the future that it gets; all that it sees by default.
    """
    if patch is None and hasattr(model, "step"):
        return lambda: StepMasks(stepping(model))
    seen = lookahead(mask, bins)
    if ahead is None:
        ahead = seen
    elif ahead < seen:
        log.warning(
            "the network sees %d frames of the future and gets %d (lookahead_frames): its masks are not those of whole recordings",
            seen,
            ahead,
        )
    return lambda: PatchMasks(mask, patch or max(1, seen), ahead)


def stepping(model: nn.Module) -> Callable[[np.ndarray, Any], tuple[np.ndarray, Any]]:
    """The method ``step`` of a network on arrays, without gradients."""

    def step(frame: np.ndarray, state: Any) -> tuple[np.ndarray, Any]:
        with torch.inference_mode():
            mask, state = model.step(torch.from_numpy(frame), state)
        return mask.numpy(), state

    return step


def measure(waves: Iterable[Tensor], stft: Stft, mask: Mask, fresh: Callable[[], Masks]) -> dict[str, Score]:
    """Feeds waveforms hop by hop.

    Args:
        waves: (N,) noisy ones.
        stft: the transform.
        mask: the network, for whole recordings.
        fresh: as :func:`masks_of` returns it.

    Returns:
        ``delay`` in ms, ``real_time_factor`` of everything from samples to samples, ``difference`` (largest, of samples in -1..1).
    """
    spent = heard = 0.0
    worst, hop, rate = 0.0, stft.options.hop_length, stft.options.sample_rate
    for wave in waves:
        samples, start = wave.numpy(), time.perf_counter()
        streamer = Streamer(stft, fresh())
        pieces = [streamer.feed(samples[begin : begin + hop]) for begin in range(0, len(samples), hop)]
        found = np.concatenate([*pieces, streamer.finish()])
        spent, heard = spent + time.perf_counter() - start, heard + len(samples) / rate
        worst = max(worst, float(np.abs(found - enhance(wave, stft, mask)).max(initial=0)))
    return {
        "delay": Score(1000 * Streamer(stft, fresh()).delay / rate, False, "ms"),
        "real_time_factor": Score(spent / heard, False, "fraction"),
        "difference": Score(worst, False, "amplitude"),
    }
