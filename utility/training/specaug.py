"""SpecAugment on a batch of features: time warp, frequency masks, time masks (arXiv 1904.08779; specs: s3prl-core.md 7.7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from utility.errors import ConfigError
from utility.training.fields import check_fields, plain
from utility.training.time_warp import WARP_MODES, warp_taps

Draw = Callable[[int, int, tuple[int, ...]], Tensor]

_DEFAULTS: dict[str, Any] = {
    "apply_time_warp": True,
    "time_warp_window": 5,
    "time_warp_mode": "bicubic",
    "apply_freq_mask": True,
    "freq_mask_width_range": (0, 20),
    "num_freq_mask": 2,
    "apply_time_mask": True,
    "time_mask_width_range": (0, 100),
    "num_time_mask": 2,
    "adaptive": False,
    "adaptive_number_ratio": 0.04,
    "adaptive_size_ratio": 0.04,
    "max_n_time_masks": 20,
}
_STAGES = ("apply_time_warp", "apply_freq_mask", "apply_time_mask")


class SpecAug:
    """SpecAugment with the fields of S3PRL's ``specaug:`` section.

    =================================================  =========================================================================
    field (default)                                    meaning
    =================================================  =========================================================================
    apply_time_warp (true)                             stretch one part of each utterance and squeeze the other
    time_warp_window (5)                               largest shift of the border in frames; shorter than 2w + 1: no warp
    time_warp_mode (bicubic)                           bicubic, bilinear or nearest
    apply_freq_mask, apply_time_mask (true)            set bands of dimensions, spans of frames to 0
    freq_mask_width_range (0, 20)                      smallest width and the first one too large; one number n means (0, n)
    time_mask_width_range (0, 100)                     the same in frames
    num_freq_mask (2), num_time_mask (2)               masks per utterance, which may overlap
    adaptive (false)                                   number and width of time masks follow the longest utterance of the batch:
    adaptive_number_ratio, adaptive_size_ratio (0.04)  int(ratio x frames) masks, widths below int(ratio x frames); 0 = not adapted
    max_n_time_masks (20)                              the most masks of an adaptive batch
    =================================================  =========================================================================

    Starts are drawn as S3PRL does: from 0 to the padded length minus the largest width of the batch. Where an adaptive batch is too
    short for a mask, there is none.

    Args:
        draw: positional; (low, high, size) -> int64 tensor of that size with low <= values < high, on the CPU; torch's global generator
            by default. Order: border and its new place of each utterance, widths and starts of frequency masks, then those of time masks.
        **fields: see above.

    Raises:
        ConfigError: unknown or impossible fields, or nothing to apply.
    """

    def __init__(self, draw: Draw | None = None, /, **fields: Any):
        check_fields(fields, _DEFAULTS, source="specaug")
        self.fields = {name: plain(value) for name, value in {**_DEFAULTS, **fields}.items()}
        for name in ("freq_mask_width_range", "time_mask_width_range"):
            if isinstance(self.fields[name], int):
                self.fields[name] = (0, self.fields[name])
        if faults := _faults(self.fields):
            raise ConfigError(faults, "specaug")
        self.draw = draw or _draw

    def __call__(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Augmented copies of a batch.

        Args:
            features: (T_i, D) each, on one device; left as they are.

        Returns:
            (T_i, D) each; differentiable.
        """
        if not features:
            return []
        lengths = [len(feature) for feature in features]
        flat = torch.cat(list(features))
        if self.fields["apply_time_warp"]:
            flat = self._warped(flat, lengths)
        masked = self._masked(lengths, flat.shape[1], flat.device)
        if masked is not None:
            flat = flat.masked_fill(masked, 0.0)
        return list(flat.split(lengths))

    def _warped(self, flat: Tensor, lengths: list[int]) -> Tensor:
        """(sum of T_i, D) with each utterance stretched up to a border and squeezed after it, or the other way round."""
        window = self.fields["time_warp_window"]
        borders = []
        for frames in lengths:
            border = shifted = 0
            if frames > 2 * window:
                border = int(self.draw(window, frames - window, (1,)))
                shifted = int(self.draw(border - window, border + window, (1,))) + 1
            borders.append((border, shifted))
        if all(border == shifted for border, shifted in borders):
            return flat
        taps, weights = warp_taps(lengths, borders, self.fields["time_warp_mode"])
        # One fused gather for the batch: over ten times as fast on a CPU as resizing each part as an image, forward and backward.
        exact = flat if flat.dtype in (torch.float32, torch.float64) else flat.float()
        weights = weights.to(flat.device, exact.dtype)
        return F.embedding_bag(taps.to(flat.device), exact, per_sample_weights=weights, mode="sum").to(flat.dtype)

    def _masked(self, lengths: list[int], width: int, device: torch.device) -> Tensor | None:
        """(sum of T_i, D) or broadcastable to it: what becomes 0."""
        bands = spans = None
        if self.fields["apply_freq_mask"]:
            bands = self._spans(len(lengths), width, self.fields["num_freq_mask"], self.fields["freq_mask_width_range"])
        if self.fields["apply_time_mask"]:
            spans = self._spans(len(lengths), max(lengths), *self._time_mask_size(max(lengths)))
        masked = None
        if bands is not None:
            utterance = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
            masked = bands.to(device)[utterance.to(device)]
        if spans is not None:
            frames = torch.cat([row[:length] for row, length in zip(spans, lengths, strict=True)]).to(device)[:, None]
            masked = frames if masked is None else masked | frames
        return masked

    def _time_mask_size(self, frames: int) -> tuple[int, tuple[int, int]]:
        """Number of time masks and range of their widths for a batch whose longest utterance has ``frames``."""
        number, (low, high) = self.fields["num_time_mask"], self.fields["time_mask_width_range"]
        if self.fields["adaptive"] and self.fields["adaptive_number_ratio"] > 0:
            number = min(int(self.fields["adaptive_number_ratio"] * frames), self.fields["max_n_time_masks"])
        if self.fields["adaptive"] and self.fields["adaptive_size_ratio"] > 0:
            high = min(high, int(self.fields["adaptive_size_ratio"] * frames))
        return number, (low, high)

    def _spans(self, batch: int, size: int, number: int, width_range: tuple[int, int]) -> Tensor | None:
        """(batch, size) bool, the union of ``number`` random spans a row; None where no span fits."""
        low, high = width_range
        if number < 1 or high <= low:
            return None
        widths = self.draw(low, high, (batch, number))
        starts = self.draw(0, max(1, size - int(widths.max())), (batch, number))
        position = torch.arange(size)[:, None]
        inside = (position >= starts[:, None]) & (position < (starts + widths)[:, None])
        return inside.any(dim=2)


def _draw(low: int, high: int, size: tuple[int, ...]) -> Tensor:
    return torch.randint(low, high, size)


def _faults(fields: dict[str, Any]) -> list[str]:
    """One sentence per impossible field."""
    faults = []
    for name, value in fields.items():
        default = _DEFAULTS[name]
        if isinstance(default, bool):
            if not isinstance(value, bool):
                faults.append(f"{name} must be true or false, not {value!r}")
        elif isinstance(default, tuple):
            if not _is_range(value):
                faults.append(f"{name} must be two whole numbers, the first from 0 and below the second, not {value!r}")
        elif isinstance(default, int):
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                faults.append(f"{name} must be a whole number from 0, not {value!r}")
        elif isinstance(default, float) and not (isinstance(value, int | float) and value >= 0):
            faults.append(f"{name} must be a number from 0, not {value!r}")
    if fields["time_warp_mode"] not in WARP_MODES:
        faults.append(f"time_warp_mode must be one of {', '.join(WARP_MODES)}, not {fields['time_warp_mode']!r}")
    if fields["apply_time_warp"] is True and fields["time_warp_window"] == 0:
        faults.append("time_warp_window must be at least 1; switch the warp off with apply_time_warp: false")
    if not any(fields[stage] for stage in _STAGES):
        faults.append(f"at least one of {', '.join(_STAGES)} must be true")
    return faults


def _is_range(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(type(end) is int for end in value) and 0 <= value[0] < value[1]
