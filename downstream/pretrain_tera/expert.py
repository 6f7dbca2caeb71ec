"""Pre-training of TERA (2007.06028)."""

from __future__ import annotations

from downstream.blocks.pretraining.reconstruction import ReconstructionTask


class DownstreamExpert(ReconstructionTask):
    """See :class:`ReconstructionTask`; config.yaml has the recipe."""
