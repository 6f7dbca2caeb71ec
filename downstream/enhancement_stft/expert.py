"""Speech enhancement of SUPERB-SG (SE): a phase-sensitive mask on a spectrum with the upstream's frames."""

from __future__ import annotations

from torch import Tensor

from downstream.blocks.enhancement.mask_probe import MaskProbe
from downstream.blocks.enhancement.mask_targets import masked, squared_error, without_spike


class DownstreamExpert(MaskProbe):
    """See :class:`MaskProbe`; ``spike_suppression`` of ``targetrc`` silences spikes at the end, which S3PRL's scores include."""

    task = "enhancement_stft"
    options = ("spike_suppression",)

    def loss(self, mask: Tensor, noisy: Tensor, clean: Tensor) -> Tensor:
        """The squared error of magnitudes."""
        return squared_error(mask, noisy, clean, self.target)

    def estimate(self, mask: Tensor, noisy: Tensor) -> Tensor:
        """M X."""
        return masked(mask, noisy)

    def finished(self, wave: Tensor) -> Tensor:
        """Without a spike at the end."""
        return without_spike(wave) if self.targetrc.get("spike_suppression", True) else wave
