"""What Mockingjay, TERA and Audio ALBERT hide of the frames that they reconstruct (specs/upstreams.md, section 15.3).

Random numbers come from torch's global generator of the CPU, whatever the device of the frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from utility.features.deltas_cmvn import frame_mask
from utility.networks.fields import filled, not_a_share

ZEROED, REPLACED = 0.8, 0.9  # one dice an utterance: below the first its spans are zeros, below the second other spans of it
NOISE_DEVIATION = 0.2


@dataclass(frozen=True)
class Masking:
    """The ``task`` section of a config of these models.

    Args:
        sequence_length: frames of the longest stretch; 0: whole recordings.
        mask_proportion: of an utterance's frames that spans hide.
        mask_consecutive_min, mask_consecutive_max: frames of a span; one length an utterance.
        mask_allow_overlap: spans begin anywhere; otherwise on a grid of ``mask_bucket_ratio`` spans.
        mask_frequency: the largest part of the channels that is hidden; 0: none.
        noise_proportion: how likely a batch gets noise of deviation 0.2.
    """

    sequence_length: int = 1500
    mask_proportion: float = 0.15
    mask_consecutive_min: int = 7
    mask_consecutive_max: int = 7
    mask_allow_overlap: bool = True
    mask_bucket_ratio: float = 1.5
    mask_frequency: float = 0.0
    noise_proportion: float = 0.0

    @classmethod
    def of(cls, task: Mapping[str, Any], source: str) -> Masking:
        """From a ``task`` section.

        Raises:
            ConfigError: fields are unknown or impossible, all at once.
        """
        return filled(cls, task, source)

    def faults(self) -> list[str]:
        """What is impossible about it."""
        faults = not_a_share(self, ["mask_proportion", "mask_frequency"])
        if not 1 <= self.mask_consecutive_min <= self.mask_consecutive_max:
            spans = f"{self.mask_consecutive_min} and {self.mask_consecutive_max}"
            faults.append(f"mask_consecutive_min must be at least 1 and mask_consecutive_max at least that, not {spans}")
        least = {"sequence_length": 0, "mask_bucket_ratio": 1, "noise_proportion": 0}
        return faults + [
            f"{name} must be at least {n}, not {getattr(self, name)!r}" for name, n in least.items() if getattr(self, name) < n
        ]

    def apply(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """
        Args:
            frames: (B, T, D), zero-padded.
            lengths: (B,).

        Returns:
            the frames with parts hidden, and which numbers are to be reconstructed (B, T, D): what was hidden in time, though some of it
            was left as it is, and in frequency; everything, where the config hides neither.
        """
        own = frame_mask(lengths, frames.size(1))[..., None]
        hidden, label = frames.clone(), torch.zeros_like(frames, dtype=torch.bool)
        for index, length in enumerate(lengths.tolist()):
            if self.mask_proportion:
                self._hide_time(hidden[index], frames[index], label[index], length)
            if self.mask_frequency:
                self._hide_channels(hidden[index], label[index])
        if not self.mask_proportion and not self.mask_frequency:
            label[:] = True
        if self.noise_proportion and float(torch.rand(1)) < self.noise_proportion:
            hidden += NOISE_DEVIATION * torch.randn(hidden.shape).to(hidden)
        return hidden * own, label & own

    def _hide_time(self, hidden: Tensor, frames: Tensor, label: Tensor, length: int) -> None:
        span = int(torch.randint(self.mask_consecutive_min, self.mask_consecutive_max + 1, (1,)))
        count, last = round(length * self.mask_proportion / span), max(length - span - 1, 0)
        chosen = self._spans(self._starts(count, last, span), span, length)
        dice = float(torch.rand(1))
        if dice < ZEROED:
            hidden[chosen] = 0.0
        elif dice < REPLACED:
            others = self._spans(torch.randperm(last + 1)[: len(chosen) // span], span, length)
            hidden[chosen[: len(others)]] = frames[others]
        label[chosen] = True

    def _starts(self, count: int, last: int, span: int) -> Tensor:
        """``count`` different beginnings of spans (fewer where there are fewer) between 0 and ``last``."""
        if self.mask_allow_overlap:
            return torch.randperm(last + 1)[:count]
        offset, step = int(torch.randint(min(span, last) + 1, (1,))), max(1, round(span * self.mask_bucket_ratio))
        grid = torch.arange(offset, last + 1, step)
        return grid[torch.randperm(len(grid))[:count]]

    @staticmethod
    def _spans(starts: Tensor, span: int, length: int) -> Tensor:
        """The frames of the spans, one after the other; the last of an utterance shorter than a span stands for those behind it."""
        return (starts[:, None] + torch.arange(span)).clamp(max=max(length - 1, 0)).flatten()

    def _hide_channels(self, hidden: Tensor, label: Tensor) -> None:
        channels = hidden.size(-1)
        width = int(torch.randint(int(channels * self.mask_frequency) + 1, (1,)))
        start = int(torch.randint(channels - width, (1,)))
        hidden[:, start : start + width] = 0.0
        label[:, start : start + width] = True
