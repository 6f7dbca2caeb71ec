"""Pre-training of VQ-APC (2005.08392)."""

from __future__ import annotations

from downstream.blocks.pretraining.frame_models import ApcTask


class DownstreamExpert(ApcTask):
    """See :class:`ApcTask`; config.yaml has the recipe."""
