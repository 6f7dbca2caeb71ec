"""Speech enhancement of SUPERB-SG, second recipe: an amplitude mask on logarithms of magnitudes, 100 frames per second."""

from __future__ import annotations

from torch import Tensor

from downstream.blocks.enhancement.mask_probe import MaskProbe
from downstream.blocks.enhancement.mask_targets import log_difference, masked_logs


class DownstreamExpert(MaskProbe):
    """See :class:`MaskProbe`; upstreams have a frame every 160 or 320 samples."""

    task = "enhancement_stft2"
    win_length, hop_length = 400, 160
    default_mask = "AM"

    def loss(self, mask: Tensor, noisy: Tensor, clean: Tensor) -> Tensor:
        """The difference of logarithms."""
        return log_difference(mask, noisy, clean, self.target)

    def estimate(self, mask: Tensor, noisy: Tensor) -> Tensor:
        """The mask on logarithms, and back."""
        return masked_logs(mask, noisy)
