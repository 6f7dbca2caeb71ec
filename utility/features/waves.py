"""The waveforms that go into features: checks that name the faulty item, and padding."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from utility.errors import DataError


class WaveError(DataError):
    """A waveform that cannot be worked on.

    Attributes:
        index: its place in the batch.
        fault: what is wrong with it.
    """

    def __init__(self, index: int, fault: str):
        self.index, self.fault = index, fault
        super().__init__(f"item {index} of the batch: {fault}")


def check_waves(wavs: Sequence[Tensor], least: int = 1) -> list[Tensor]:
    """The waveforms as float32, after checking them.

    Args:
        wavs: 1-D floating-point tensors on one device.
        least: the fewest samples that give a frame.

    Raises:
        DataError: the batch is empty, or an item is not 1-D floating point, is too short, or holds NaN or infinity; names the item's index.
    """
    if len(wavs) == 0:
        raise DataError("the batch has no item")
    for index, wav in enumerate(wavs):
        fault = _shape_fault(wav, least)
        if fault:
            raise WaveError(index, fault)
    wavs = [wav.float() for wav in wavs]
    sums = torch.stack([wav.detach().sum() for wav in wavs])
    if not torch.isfinite(sums).all():
        _refuse_non_finite(wavs)
    return wavs


def pad_waves(wavs: Sequence[Tensor]) -> Tensor:
    """Zero-pads a list of 1-D tensors to (B, L)."""
    return torch.nn.utils.rnn.pad_sequence(list(wavs), batch_first=True)


def _shape_fault(wav: Tensor, least: int) -> str | None:
    if not isinstance(wav, Tensor):
        return f"a tensor is expected, not {type(wav).__name__}"
    if wav.dim() != 1:
        return f"a waveform has one dimension, not the shape {tuple(wav.shape)}"
    if not wav.is_floating_point():
        return f"a waveform is floating point in [-1, 1], not {str(wav.dtype).removeprefix('torch.')}"
    if len(wav) < least:
        return f"{len(wav)} samples are too short, {least} are needed for one frame"
    return None


def _refuse_non_finite(wavs: Sequence[Tensor]) -> None:
    """Raises for the first item with NaN or infinity; a sum may overflow without one."""
    for index, wav in enumerate(wavs):
        bad = (~torch.isfinite(wav)).nonzero()
        if len(bad):
            raise WaveError(index, f"sample {int(bad[0])} is {float(wav[bad[0]])}")
