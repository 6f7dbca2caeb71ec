"""DeCoAR's encoder: LSTMs forwards and LSTMs backwards over log mel frames, independent of each other.

Ling et al. 2019, "Deep Contextualized Acoustic Representations For Semi-Supervised Speech Recognition" (1912.01679); specs/upstreams.md,
section 12.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from utility.features.deltas_cmvn import zero_padding


class Decoar(nn.Module):
    """
    Args:
        input_size: width of the frames.
        width: of each direction.
        layers: of each direction.
    """

    def __init__(self, input_size: int = 80, width: int = 1024, layers: int = 4):
        super().__init__()
        self.post_extract_proj = nn.Linear(input_size, width)
        self.forward_lstms, self.backward_lstms = (
            nn.ModuleList(nn.LSTM(width, width, batch_first=True) for _ in range(layers)) for _ in range(2)
        )

    def forward(self, frames: Tensor, lengths: Tensor) -> list[Tensor]:
        """
        Args:
            frames: (B, T, input_size), zero-padded.
            lengths: (B,) frames of each item.

        Returns:
            per layer both directions side by side, (B, T, 2 width), with zeros as padding. An item's frames do not depend on its padding,
            which comes after them in both directions.
        """
        later = self.post_extract_proj(frames)
        earlier = reversed_items(later, lengths)
        states: list[Tensor] = []
        for forwards, backwards in zip(self.forward_lstms, self.backward_lstms, strict=True):
            later, earlier = forwards(later)[0], backwards(earlier)[0]
            both = torch.cat([later, reversed_items(earlier, lengths)], dim=-1)
            states.append(zero_padding(both, lengths))
        return states


def reversed_items(frames: Tensor, lengths: Tensor) -> Tensor:
    """(B, T, D) with the frames of each item in reversed order; its padding stays where it is."""
    steps = torch.arange(frames.size(1), device=frames.device)
    mirrored = lengths[:, None] - 1 - steps
    order = torch.where(mirrored >= 0, mirrored, steps)
    return frames.gather(1, order[..., None].expand(-1, -1, frames.size(-1)))
