"""NPC: convolutions over log mel frames that do not see the frame they stand for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from upstream.blocks.frame_model import load_frame_model
from upstream.interfaces import UpstreamBase
from utility.features.waves import check_waves
from utility.networks.npc import Npc


class UpstreamExpert(UpstreamBase):
    """States: block 0, masked convolution 0, block 1 ... and the feature, (B, T, hidden_size).

    Args:
        ckpt: path or URL of a checkpoint with ``config`` and ``model``.
        model_config: of no effect, since the checkpoint holds its config.
        refresh: download again.
        batch_independent: keep padding zero in every layer; off, it runs through the network like data, as published.

    Raises:
        CheckpointError: the file is none of this model. ConfigError: its config is impossible.
    """

    def __init__(self, ckpt: str | Path, model_config: None = None, refresh: bool = False, batch_independent: bool = False):
        super().__init__()
        self.batch_independent = batch_independent
        self.features, self.model = load_frame_model(ckpt, refresh, Npc.of)

    def get_downsample_rates(self, key: str) -> int:
        """Samples per frame."""
        return self.features.rate

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        """``hidden_states``, ``last_hidden_state`` (B, T, width); ``lengths`` (B,)."""
        frames, lengths = self.features(check_waves(wavs, self.features.options.least_samples))
        states = self.model.encode(frames, lengths if self.batch_independent else None)
        return {"hidden_states": states, "last_hidden_state": states[-1], "lengths": lengths}
