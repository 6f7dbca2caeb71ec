"""Phone classification of every frame by a network with one hidden layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from downstream.blocks.frame_models import HiddenProbe
from downstream.blocks.frame_probe import SOURCE, FrameProbe
from utility.training.fields import check_fields, check_options


class DownstreamExpert(FrameProbe):
    """See :class:`FrameProbe`."""

    def build_model(self, upstream_dim: int, modelrc: Mapping[str, Any]) -> nn.Module:
        """Linear(D, hidden), dropout, rectifier, Linear(hidden, 41)."""
        check_fields(modelrc, ("hidden_size", "dropout"), source=f"{SOURCE}.modelrc")
        check_options(HiddenProbe, modelrc, source=f"{SOURCE}.modelrc")
        return HiddenProbe(upstream_dim, self.class_num, **modelrc)
