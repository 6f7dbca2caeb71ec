"""PASE and PASE+: features of a problem-agnostic speech encoder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from utility.errors import CheckpointError
from utility.features.waves import check_waves
from utility.networks.by_length import UnmaskedUpstream
from utility.networks.weights import fitted, local_path, read_checkpoint

from .config import read_pase_config
from .model import PaseModel, frames_of, least_samples

DEFAULT_CONFIG = Path(__file__).resolve().parent / "pase_plus.yaml"


class UpstreamExpert(UnmaskedUpstream):
    """Nine hidden states of PASE+, (B, T, 256) each: seven dense skips, the projection, the output. Plain PASE has the last two.

    Args:
        ckpt: path or URL of a checkpoint: a state dict, or a dictionary that has it under ``state_dict``.
        model_config: path or URL of the frontend's JSON file; PASE+ by default.
        refresh: download URLs again.
        batch_independent: run utterances of equal length together instead of padding, so that none depends on its batch (off: as in
            S3PRL, where the zeros of the padding run through the net).
    """

    def __init__(self, ckpt: str | Path, model_config: str | Path | None = None, refresh: bool = False, batch_independent: bool = False):
        super().__init__(batch_independent)
        self.name = "pase_plus"
        self.config = read_pase_config(local_path(model_config or DEFAULT_CONFIG, refresh))
        path = local_path(ckpt, refresh)
        content = read_checkpoint(path)
        weights = content.get("state_dict", content)
        if not isinstance(weights, Mapping) or not any(str(name).startswith("blocks.") for name in weights):
            there = ", ".join(map(str, list(content)[:8])) or "nothing"
            raise CheckpointError(f"{path} is no checkpoint of PASE: it has no weights 'blocks...' and no 'state_dict'; it holds {there}")
        self.model = fitted(lambda: PaseModel(self.config), weights, path, extra_ok=True)
        self.least_samples = least_samples(self.config)

    def get_downsample_rates(self, key: str) -> int:
        """Samples per frame."""
        return self.config.rate

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        """``hidden_states`` (list), ``last_hidden_state``, ``lengths`` (B,)."""
        wavs = check_waves(wavs, self.least_samples)
        states = self.run(self.model, wavs)
        lengths = torch.tensor([frames_of(len(wav), self.config)[-1] for wav in wavs], device=states[0].device)
        return {"hidden_states": states, "last_hidden_state": states[-1], "lengths": lengths}
