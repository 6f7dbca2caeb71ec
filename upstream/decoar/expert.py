"""DeCoAR: the last layer of its forward and backward LSTMs, or every layer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from upstream.interfaces import UpstreamBase
from utility.errors import CheckpointError
from utility.features.hamming_fbank import hamming_fbank
from utility.features.waves import check_waves
from utility.networks.fields import nested
from utility.networks.weights import load_weights, local_path, read_checkpoint, renamed

from .model import Decoar

PROJECTION = "post_extract_proj.weight"
RULES = [(r"(forward|backward)_lstm\.(\w+_l)(\d+)", r"\1_lstms.\3.\g<2>0")]  # published: one module of all layers per direction


class UpstreamExpert(UpstreamBase):
    """States: both directions of the last layer side by side, (B, T, 2 width), or of each layer.

    Args:
        ckpt: path or URL of a checkpoint with ``model``.
        model_config: of no effect: the sizes are those of the weights.
        refresh: download again.
        layers: give every layer.
        batch_independent: of no effect: the frames of an item never depend on its batch.

    Raises:
        CheckpointError: the file is none of this model.
    """

    batch_independent = True

    def __init__(
        self,
        ckpt: str | Path,
        model_config: None = None,
        refresh: bool = False,
        layers: bool = False,
        batch_independent: bool = False,
    ):
        super().__init__()
        self.layers = layers
        path = local_path(ckpt, refresh)
        weights = nested(read_checkpoint(path), path, "model")
        self.features = hamming_fbank()
        self.model = Decoar(self.features.dim, *_sizes(weights, path))
        load_weights(self.model, renamed(weights, RULES), path, extra_ok=True)

    def get_downsample_rates(self, key: str) -> int:
        """Samples per frame."""
        return self.features.rate

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        """``hidden_states``, ``last_hidden_state`` (B, T, 2 width) with zeros as padding; ``lengths`` (B,)."""
        frames, lengths = self.features(check_waves(wavs, self.features.options.least_samples))
        states = self.model(frames, lengths)
        states = states if self.layers else states[-1:]
        return {"hidden_states": states, "last_hidden_state": states[-1], "lengths": lengths}


def _sizes(weights: Mapping[str, Any], path: Path) -> tuple[int, int]:
    """Width and layers of each direction, from the weights."""
    projection = weights.get(PROJECTION)
    layers = sum(str(name).startswith("forward_lstm.weight_ih_l") for name in weights)
    is_matrix = isinstance(projection, Tensor) and projection.dim() == 2 and projection.numel() > 0
    if not is_matrix or not layers:
        lacking = "forward_lstm.weight_ih_l0" if is_matrix else PROJECTION
        raise CheckpointError(f"{path} is no checkpoint of DeCoAR: it has no matrix {lacking}")
    return projection.size(0), layers
