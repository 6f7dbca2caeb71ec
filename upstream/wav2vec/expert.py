"""wav2vec 1.0 and vq-wav2vec features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from upstream.blocks.wav2vec_model import load_wav2vec
from utility.features.waves import check_waves
from utility.networks.by_length import UnmaskedUpstream
from utility.networks.conv_layers import frames_of, least_samples


class UpstreamExpert(UnmaskedUpstream):
    """Thirteen hidden states of the published models, (B, T, 512) each: the extractor's output and those of the 12 aggregator layers.

    Args:
        ckpt: path or URL of a converted checkpoint or of fairseq's own.
        refresh: download a URL again.
        batch_independent: run utterances of equal length together instead of padding, so that none depends on its batch (off: as in
            S3PRL, where the norms see the zeros of the padding).
    """

    def __init__(self, ckpt: str | Path, model_config: None = None, refresh: bool = False, batch_independent: bool = False):
        super().__init__(batch_independent)
        self.name = "wav2vec"
        self.model = load_wav2vec(ckpt, refresh)
        self.config = self.model.config
        self.least_samples = least_samples(self.config.conv_feature_layers)

    def get_downsample_rates(self, key: str) -> int:
        """Samples per frame."""
        return self.config.rate

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        """``hidden_states`` (list), ``last_hidden_state``, ``z``, ``c``, ``default``, with a codebook ``codewords`` and ``codeids``.

        ``lengths`` (B,) are the frames of each waveform alone; ``codeids`` (B, T, groups) are whole numbers.
        """
        wavs = check_waves(wavs, self.least_samples)
        result = self.run(self.model, wavs)
        z, c = result["hidden_states"][0], result["hidden_states"][-1]
        lengths = torch.tensor([frames_of(len(wav), self.config.conv_feature_layers) for wav in wavs], device=c.device)
        return {**result, "z": z, "c": c, "default": c, "last_hidden_state": c, "lengths": lengths}
