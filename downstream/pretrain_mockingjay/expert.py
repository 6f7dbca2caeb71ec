"""Pre-training of Mockingjay (1910.12638)."""

from __future__ import annotations

from downstream.blocks.pretraining.reconstruction import ReconstructionTask


class DownstreamExpert(ReconstructionTask):
    """See :class:`ReconstructionTask`; config.yaml has the recipe."""
