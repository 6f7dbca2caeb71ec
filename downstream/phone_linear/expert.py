"""Phone classification of every frame by one linear layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from downstream.blocks.frame_models import LinearProbe
from downstream.blocks.frame_probe import SOURCE, FrameProbe
from utility.training.fields import check_fields


class DownstreamExpert(FrameProbe):
    """See :class:`FrameProbe`."""

    def build_model(self, upstream_dim: int, modelrc: Mapping[str, Any]) -> nn.Module:
        """Linear(D, 41)."""
        check_fields(modelrc, (), source=f"{SOURCE}.modelrc")
        return LinearProbe(upstream_dim, self.class_num)
