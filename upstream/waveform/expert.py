"""The raw samples as features, for tasks that bring their own front-end."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from utility.features.waves import check_waves, pad_waves


class UpstreamExpert(nn.Module):
    """One hidden state, (B, T, 1): the zero-padded samples."""

    batch_independent = True
    stateless = True
    output_dim = 1

    def __init__(self) -> None:
        super().__init__()
        self.name = "waveform"

    def get_downsample_rates(self, key: str) -> int:
        """One sample per frame."""
        return 1

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        """The samples under ``hidden_states`` and ``last_hidden_state``; ``lengths`` (B,) is exact."""
        samples = pad_waves(check_waves(wavs)).unsqueeze(-1)
        lengths = torch.tensor([len(wav) for wav in wavs], device=samples.device)
        return {"hidden_states": [samples], "last_hidden_state": samples, "lengths": lengths}
