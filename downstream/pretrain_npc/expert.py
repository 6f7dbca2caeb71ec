"""Pre-training of NPC (2011.00406)."""

from __future__ import annotations

from downstream.blocks.pretraining.frame_models import NpcTask


class DownstreamExpert(NpcTask):
    """See :class:`NpcTask`; config.yaml has the recipe."""
