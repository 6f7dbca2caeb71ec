"""Mask networks as functions of arrays, as ONNX files are, and whole recordings through them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from utility.audio.stft import Stft

from .estimation import Estimator

Mask = Callable[[np.ndarray], np.ndarray]


def mask_of(model: nn.Module, device: str | torch.device = "cpu") -> Mask:
    """A torch network as a function of arrays, (B, F, T) -> (B, F, T), without gradients."""

    def mask(magnitudes: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(magnitudes).to(device)).float().cpu().numpy()

    return mask


def enhance(wave: Tensor, stft: Stft, mask: Mask, frames: int | None = None) -> np.ndarray:
    """(N,) noisy waveform on the CPU -> (M,) enhanced one, as :meth:`Estimator.enhanced` does it.

    Args:
        wave: on the CPU.
        stft: the transform.
        mask: (B, F, T) magnitudes -> mask.
        frames: take only so many frames, zeros beyond the last one (``fixed_sequence_length``); all by default.
    """
    return Estimator(stft.options).enhanced(lambda magnitudes: torch.from_numpy(mask(magnitudes.numpy())), wave, frames).numpy()
