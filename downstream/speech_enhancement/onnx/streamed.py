"""Recordings through a streamer as they would come in: speed, delay, and how far the result is from that of the whole recording."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from downstream.interfaces import Score
from utility.audio.stft import Stft
from utility.errors import ToolkitError

from ..masking import Mask, enhance
from .stepped import quickest_step
from .streaming import Masks, PatchMasks, StepMasks, Streamer, reach

log = logging.getLogger(__name__)

MOST = 400  # frames


def masks_of(
    model: nn.Module, mask: Mask, bins: int, patch: int | None, ahead: int | None, step: Path | None = None, opset: int = 17
) -> Callable[[], Masks]:
    """What makes the masks of one recording, of a fresh one at each call.

    A network that sees nothing of the future and has a method ``step`` (frames (1, F, n), state or None -> masks, state) is run on the
    frames as they come; others on windows.

    Args:
        model: the network.
        mask: the same one as a function, any length.
        bins: F.
        patch: frames of an advance; as many as the network sees of the future, one at least, by default.
        ahead: frames of the future that it gets; all that it sees by default.
        step: where the ONNX file of a single step goes, which is quicker; none by default.
        opset: of that file.

    Raises:
        ToolkitError: the network remembers so much that windows are out of the question.
    """
    before, after = sight_of(model, mask, bins)
    if not after and hasattr(model, "step"):
        run = (quickest_step(model, step, bins, opset) if step else None) or stepping(model)
        return lambda: StepMasks(run)
    if not hasattr(model, "reach") and max(before, after) >= MOST:
        raise ToolkitError(f"{type(model).__name__} sees {MOST} frames and more, and has no method step, by which it could be streamed")
    if ahead is None:
        ahead = after
    elif ahead < after:
        log.warning(
            "the network sees %d frames of the future and gets %d (lookahead_frames): other masks than of whole recordings", after, ahead
        )
        before = min(before, ahead)
    return lambda: PatchMasks(mask, patch or max(1, after), ahead, before)


def sight_of(model: nn.Module, mask: Mask, bins: int) -> tuple[int, int]:
    """Frames before and after one that its mask depends on: what the network says (``reach``), or what trying shows, up to ``MOST``."""
    told = getattr(model, "reach", None)
    return reach(mask, bins, MOST) if told is None else (told, told)


def stepping(model: nn.Module, device: str | torch.device = "cpu") -> Callable[[np.ndarray, Any], tuple[np.ndarray, Any]]:
    """The method ``step`` of a network on arrays, without gradients."""

    def step(frames: np.ndarray, state: Any) -> tuple[np.ndarray, Any]:
        with torch.inference_mode():
            masks, state = model.step(torch.from_numpy(frames).to(device), state)
        return masks.float().cpu().numpy(), state

    return step


def measure(
    waves: Iterable[Tensor], stft: Stft, mask: Mask, fresh: Callable[[], Masks], clock: Callable[[], float] = time.perf_counter
) -> dict[str, Score]:
    """Feeds waveforms hop by hop.

    Args:
        waves: (N,) noisy ones.
        stft: the transform.
        mask: the network, for whole recordings.
        fresh: as :func:`masks_of` returns it.
        clock: seconds.

    Returns:
        ``delay`` in ms, ``real_time_factor`` of everything from samples to samples, ``difference`` (largest, of samples in -1..1).
    """
    spent = heard = 0.0
    worst, hop, rate = 0.0, stft.options.hop_length, stft.options.sample_rate
    for wave in waves:
        samples, start = wave.numpy(), clock()
        streamer = Streamer(stft, fresh())
        pieces = [streamer.feed(samples[begin : begin + hop]) for begin in range(0, len(samples), hop)]
        found = np.concatenate([*pieces, streamer.finish()])
        spent, heard = spent + clock() - start, heard + len(samples) / rate
        worst = max(worst, float(np.abs(found - enhance(wave, stft, mask)).max(initial=0)))
    return {
        "delay": Score(1000 * Streamer(stft, fresh()).delay / rate, False, "ms"),
        "real_time_factor": Score(spent / heard, False, "fraction"),
        "difference": Score(worst, False, "amplitude"),
    }
