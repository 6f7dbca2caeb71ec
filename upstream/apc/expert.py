"""APC and VQ-APC: unidirectional GRUs over log mel frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from upstream.blocks.frame_model import load_frame_model
from upstream.interfaces import UpstreamBase
from utility.features.waves import check_waves
from utility.networks.apc import Apc

LAYERS_SHOWN = 2  # the published model shows the inputs of its second and third GRU, however many there are


class UpstreamExpert(UpstreamBase):
    """States: the outputs of the first two layers and of the last one, (B, T, hidden_size).

    Args:
        ckpt: path or URL of a checkpoint with ``config`` and ``model``.
        model_config: of no effect, since the checkpoint holds its config.
        refresh: download again.
        batch_independent: of no effect: the frames of an item never depend on its batch.

    Raises:
        CheckpointError: the file is none of this model. ConfigError: its config is impossible.
    """

    batch_independent = True

    def __init__(self, ckpt: str | Path, model_config: None = None, refresh: bool = False, batch_independent: bool = False):
        super().__init__()
        self.features, self.model = load_frame_model(ckpt, refresh, Apc.of)

    def get_downsample_rates(self, key: str) -> int:
        """Samples per frame."""
        return self.features.rate

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        """``hidden_states``, ``last_hidden_state`` (B, T, hidden_size) with zeros as padding; ``lengths`` (B,)."""
        frames, lengths = self.features(check_waves(wavs, self.features.options.least_samples))
        layers = self.model.encode(frames, lengths)
        states = [*layers[:-1][:LAYERS_SHOWN], layers[-1]]
        return {"hidden_states": states, "last_hidden_state": states[-1], "lengths": lengths}
