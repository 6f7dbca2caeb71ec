"""Pre-training of Audio ALBERT (2005.08575)."""

from __future__ import annotations

from downstream.blocks.pretraining.reconstruction import ReconstructionTask


class DownstreamExpert(ReconstructionTask):
    """See :class:`ReconstructionTask`; config.yaml has the recipe."""
