"""The reference for upstreams of your own: two linear layers on every sample, with S3PRL's keys."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from utility.features.waves import check_waves, pad_waves

TASK_KEYS = ("PR", "ASR", "QbE", "SID", "ASV", "SD", "ER", "SF", "SE", "SS", "secret")
WIDTH = 8


class UpstreamExpert(nn.Module):
    """Maps each sample to 8 numbers and these to 8 more.

    Args:
        ckpt: path or URL of a checkpoint; this one has none.
        model_config: path of a config; this one has none.
    """

    def __init__(self, ckpt: str | None = None, model_config: str | None = None, **kwargs: Any):
        super().__init__()
        self.name = "example"
        self.model1 = nn.Linear(1, WIDTH)
        self.model2 = nn.Linear(WIDTH, WIDTH)

    def get_downsample_rates(self, key: str) -> int:
        """Samples per frame of the feature ``key``."""
        return 1

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        """
        Args:
            wavs: unpadded 1-D waveforms at 16 kHz on the model's device.

        Returns:
            ``hidden_states``, a list of two (B, T, 8); the same list under the name of each SUPERB task.
        """
        padded = pad_waves(check_waves(wavs)).unsqueeze(-1)
        hidden = self.model1(padded)
        feature = self.model2(hidden)
        states = [hidden, feature]
        return {"hidden_states": states, **dict.fromkeys(TASK_KEYS, states)}
