"""Phone classification of every frame by one linear layer that sees the neighbouring frames too."""

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
        """Linear(frames * D, 41) for the ``concat_n_frames`` of the config."""
        check_fields(modelrc, ("concat_n_frames",), ("concat_n_frames",), source=f"{SOURCE}.modelrc")
        return LinearProbe(upstream_dim, self.class_num, modelrc["concat_n_frames"])
