"""Modified CPC: features of Riviere et al. 2020."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from utility.errors import CheckpointError
from utility.features.waves import check_waves
from utility.networks.by_length import UnmaskedUpstream
from utility.networks.weights import fitted, local_path, read_checkpoint, section

from .config import CpcConfig
from .model import RATE, CpcModel, frames_of, least_samples


class UpstreamExpert(UnmaskedUpstream):
    """Two hidden states: the encoder's output and the recurrence's, (B, T, 256) each in the published model.

    Args:
        ckpt: path or URL of a checkpoint with ``config`` and ``weights``.
        refresh: download a URL again.
        batch_independent: run utterances of equal length together instead of padding, so that none depends on its batch (off: as in
            S3PRL, where the zeros of the padding run through the net).
    """

    def __init__(self, ckpt: str | Path, model_config: None = None, refresh: bool = False, batch_independent: bool = False):
        super().__init__(batch_independent)
        self.name = "modified_cpc"
        path = local_path(ckpt, refresh)
        content = read_checkpoint(path)
        weights, config = section(content, path, "weights"), section(content, path, "config")
        if not isinstance(weights, Mapping) or not isinstance(config, Mapping):
            raise CheckpointError(f"{path} is no CPC checkpoint: 'weights' and 'config' must be dictionaries")
        settings = CpcConfig.of(config, str(path))
        self.model = fitted(lambda: CpcModel(settings), weights, path, extra_ok=True)  # the criterion's weights lie beside them

    def get_downsample_rates(self, key: str) -> int:
        """Samples per frame."""
        return RATE

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        """``hidden_states`` (list of 2), ``last_hidden_state``, ``lengths`` (B,)."""
        wavs = check_waves(wavs, least_samples())
        states = self.run(self.model, wavs)
        lengths = torch.tensor([frames_of(len(wav)) for wav in wavs], device=states[0].device)
        return {"hidden_states": states, "last_hidden_state": states[-1], "lengths": lengths}
