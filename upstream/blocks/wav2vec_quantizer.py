"""The codebooks of vq-wav2vec (Baevski et al. 2020, arXiv 1910.05453)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from upstream.blocks.wav2vec_config import Wav2VecConfig

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU}
_WIDENING = 2


class GumbelQuantizer(nn.Module):
    """Picks each group's most probable entry.

    In training the gradient is that of the probabilities (straight-through). The noise of the Gumbel softmax, which belongs to the
    pre-training, is not added, so that features stay a function of the waveform.
    """

    def __init__(self, config: Wav2VecConfig):
        super().__init__()
        self.groups, self.entries = config.vq_groups, config.vq_vars
        books = 1 if config.combine_groups else config.vq_groups
        self.vars = nn.Parameter(torch.rand(1, books * config.vq_vars, config.codeword // config.vq_groups))
        logits = config.vq_groups * config.vq_vars
        hidden = [config.embed] + [config.embed * _WIDENING] * (config.vq_depth - 1)
        steps = [nn.Sequential(nn.Linear(a, b), ACTIVATIONS[config.activation]()) for a, b in pairwise(hidden)]
        last = nn.Linear(hidden[-1], logits)
        self.weight_proj = nn.Sequential(*steps, last) if steps else last

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, C) to the codewords, (B, T, C'), and the entries' numbers, (B, T, groups)."""
        logits = self.weight_proj(z).unflatten(2, (self.groups, self.entries))
        codes = logits.argmax(3)
        book = self.vars.view(-1, self.entries, self.vars.size(2)).expand(self.groups, -1, -1)
        if self.training:
            soft = logits.softmax(3)
            hard = torch.zeros_like(soft).scatter_(3, codes[..., None], 1.0)
            return torch.einsum("btge,ged->btgd", hard + soft - soft.detach(), book).flatten(2), codes
        return _looked_up(book, codes), codes


class KmeansQuantizer(nn.Module):
    """Picks the entry nearest to each group of the projected frame; the gradient passes to the projection as if nothing were picked."""

    def __init__(self, config: Wav2VecConfig):
        super().__init__()
        self.groups = config.vq_groups
        books = 1 if config.combine_groups else config.vq_groups
        self.embedding = nn.Parameter(0.01 * torch.randn(config.vq_vars, books, config.codeword // config.vq_groups))
        self.projection = nn.Sequential(
            nn.Conv1d(config.embed, config.codeword, 1, groups=config.vq_groups, bias=False),
            nn.GroupNorm(config.vq_groups, config.codeword),
        )

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, C) to the codewords, (B, T, C'), and the entries' numbers, (B, T, groups)."""
        projected = self.projection(z.transpose(1, 2)).transpose(1, 2)
        book = self.embedding.transpose(0, 1).expand(self.groups, -1, -1)
        with torch.no_grad():
            parts = projected.unflatten(2, (self.groups, -1)).flatten(0, 1).transpose(0, 1)  # (groups, B T, D)
            # Differences are squared one by one: the quicker product form can confuse two entries that are about as near.
            distances = torch.cdist(parts, book, compute_mode="donot_use_mm_for_euclid_dist")
            codes = distances.argmin(2).T.unflatten(0, projected.shape[:2])
        chosen = _looked_up(book, codes)
        return chosen.detach() + (projected - projected.detach()), codes


def _looked_up(book: Tensor, codes: Tensor) -> Tensor:
    """(groups, entries, D) and (B, T, groups) to (B, T, groups D)."""
    return book[torch.arange(len(book), device=codes.device), codes].flatten(2)


QUANTIZERS = {"gumbel": GumbelQuantizer, "kmeans": KmeansQuantizer}
