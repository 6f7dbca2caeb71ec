"""Discrete BERT: a RoBERTa over the codes of vq-wav2vec (Baevski et al. 2019, arXiv 1911.03912)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from upstream.blocks.fairseq_files import read_fairseq
from upstream.blocks.wav2vec_model import load_wav2vec
from utility.errors import CheckpointError
from utility.features.waves import check_waves
from utility.networks.by_length import UnmaskedUpstream
from utility.networks.conv_layers import frames_of, least_samples
from utility.networks.weights import local_path, read_checkpoint, section

from .roberta import load_roberta, most_tokens
from .tokens import PAD, vocabulary_of

AROUND = 2
"""Tokens more than frames: ``<s>`` and ``</s>``."""


class UpstreamExpert(UnmaskedUpstream):
    """Thirteen hidden states, (B, T + 2, 768) each: the embeddings and the outputs of the 12 layers.

    Args:
        ckpt: path or URL of the RoBERTa, with ``text_dictionary``.
        frontend: path or URL of the vq-wav2vec checkpoint whose codes it reads.
        refresh: download URLs again.
        batch_independent: compute the codes of each waveform without padding (off: of a padded batch, as in S3PRL). The RoBERTa itself
            never sees padding.
    """

    def __init__(
        self,
        ckpt: str | Path,
        model_config: None = None,
        refresh: bool = False,
        *,
        frontend: str | Path,
        batch_independent: bool = False,
    ):
        super().__init__(batch_independent)
        self.name = "discretebert"
        path = local_path(ckpt, refresh)
        content = read_checkpoint(path)
        read = read_fairseq(content, path)
        self.vocabulary = vocabulary_of(section(content, path, "text_dictionary"), path)
        self.roberta = load_roberta(read.model, read.weights, path)
        if len(self.vocabulary) > self.roberta.config.vocab_size:
            raise CheckpointError(f"{path}: the dictionary has {len(self.vocabulary)} words, the model {self.roberta.config.vocab_size}")
        self.frontend = load_wav2vec(frontend, refresh).requires_grad_(False)
        if self.frontend.vector_quantizer is None:
            raise CheckpointError(f"{frontend} is a wav2vec without a codebook; discretebert reads the codes of a vq-wav2vec")
        self.layers = self.frontend.config.conv_feature_layers

    def get_downsample_rates(self, key: str) -> int:
        """Samples per frame."""
        return self.frontend.config.rate

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        """``hidden_states`` (list), ``last_hidden_state``, ``lengths`` (B,): the frames and the two tokens around them."""
        wavs = check_waves(wavs, least_samples(self.layers))
        with torch.no_grad():
            codes = self.run(self.frontend.codes, wavs)
        frames = [frames_of(len(wav), self.layers) for wav in wavs]
        items = [self.vocabulary.encode(own[:count]) for own, count in zip(codes, frames, strict=True)]
        states = self._states(items)
        lengths = torch.tensor([len(item) for item in items], device=codes.device)
        return {"hidden_states": states, "last_hidden_state": states[-1], "lengths": lengths}

    def _states(self, items: Sequence[Tensor]) -> list[Tensor]:
        """All states of token sequences; sequences longer than the position table are run in pieces, each from position 0."""
        size = most_tokens(self.roberta)
        pieces = [(index, piece) for index, item in enumerate(items) for piece in item.split(size)]
        tokens = torch.nn.utils.rnn.pad_sequence([piece for _, piece in pieces], batch_first=True, padding_value=PAD)
        states = self.roberta(tokens, attention_mask=(tokens != PAD).long(), output_hidden_states=True).hidden_states
        return [_rejoined(state, pieces, len(items)) for state in states]


def _rejoined(state: Tensor, pieces: Sequence[tuple[int, Tensor]], count: int) -> Tensor:
    """(pieces, longest piece, D) to (items, longest item, D), zero behind an item's own tokens."""
    own: list[list[Tensor]] = [[] for _ in range(count)]
    for (index, piece), rows in zip(pieces, state, strict=True):
        own[index].append(rows[: len(piece)])
    return torch.nn.utils.rnn.pad_sequence([torch.cat(rows) for rows in own], batch_first=True)
