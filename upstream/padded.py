"""The padded-tensor interface to an upstream: (B, L) waveforms and their lengths in, a list of (B, T, D) states and their lengths out.

The frame counts are those of S3PRL's ``S3PRLUpstream``; building one touches no random stream and leaves the upstream's mode as it was.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from utility.errors import DataError

MIN_SECONDS = 0.05
SAMPLE_RATE = 16000


class PaddedUpstream(nn.Module):
    """Wraps an upstream of the dict contract.

    Args:
        upstream: such as ``registry.build("fbank")``.
        normalize: layer norm (no affine) over D of each state.
    """

    def __init__(self, upstream: nn.Module, normalize: bool = False):
        super().__init__()
        self.upstream, self.normalize = upstream, normalize
        self.downsample_rate = int(upstream.get_downsample_rates("hidden_states"))

    def forward(self, wavs: Tensor, lengths: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """
        Args:
            wavs: (B, L), zero-padded.
            lengths: (B,) samples. If none reaches 0.05 s, all grow by as many zeros as the longest lacks.

        Returns:
            the hidden states, each (B, T, D) with T = ceil(longest / rate), the last frame repeated where an upstream gives fewer; and for
            each the valid frames, floor((samples - 1) / rate) + 1, (B,).

        Raises:
            DataError: the upstream's frames do not fit its rate.
        """
        missing = max(0, int(MIN_SECONDS * SAMPLE_RATE) - int(lengths.max()))
        wavs, lengths = F.pad(wavs, (0, missing)), lengths + missing
        states = self.upstream([wav[:n] for wav, n in zip(wavs, lengths.tolist(), strict=True)])["hidden_states"]
        frames = math.ceil(int(lengths.max()) / self.downsample_rate)
        valid = torch.div(lengths - 1, self.downsample_rate, rounding_mode="floor") + 1
        return [self._fitted(state, frames) for state in states], [valid] * len(states)

    def _fitted(self, state: Tensor, frames: int) -> Tensor:
        """(B, T, D) cut or, by its last frame, extended to ``frames``."""
        if state.size(1) * 2 <= frames:
            have = state.size(1)
            raise DataError(f"the upstream gave {have} frames where {frames} were expected at {self.downsample_rate} samples per frame")
        state = state[:, :frames]
        state = torch.cat([state, state[:, -1:].expand(-1, frames - state.size(1), -1)], dim=1)
        return F.layer_norm(state, state.shape[-1:]) if self.normalize else state
