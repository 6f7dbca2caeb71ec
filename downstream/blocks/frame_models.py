"""Small classifiers of single frames: linear, linear on a frame with its neighbours, one hidden layer (spec: downstream-content.md 1).

Names of parameters are S3PRL's, so its checkpoints load.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from utility.errors import ConfigError
from utility.training.fields import Count, Part


def with_neighbours(features: Tensor, lengths: Tensor, frames: int) -> Tensor:
    """Each frame with its neighbours, the future first: t + frames // 2 ... t ... t - frames // 2.

    Where a neighbour lies outside the utterance, its first or last frame stands in.

    Args:
        features: (B, T, D).
        lengths: (B,), numbers of true frames.
        frames: odd.

    Returns:
        (B, T, frames * D)
    """
    reach = frames // 2
    place = torch.arange(features.size(1), device=features.device)[:, None] + torch.arange(reach, -reach - 1, -1, device=features.device)
    place = torch.minimum(place.clamp(min=0), (lengths - 1).clamp(min=0)[:, None, None])
    return torch.stack([item[index].flatten(1) for item, index in zip(features, place, strict=True)])


class LinearProbe(nn.Module):
    """One linear layer.

    Args:
        input_dim: D.
        class_num: number of classes.
        concat_n_frames: how many frames it sees, odd.

    Raises:
        ConfigError: an even number of frames.
    """

    def __init__(self, input_dim: int, class_num: int, concat_n_frames: int = 1):
        super().__init__()
        if not isinstance(concat_n_frames, int) or concat_n_frames < 1 or concat_n_frames % 2 == 0:
            raise ConfigError(f"concat_n_frames must be an odd number, not {concat_n_frames!r}", "modelrc")
        self.concat_n_frames = concat_n_frames
        self.linear = nn.Linear(input_dim * concat_n_frames, class_num)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D) and numbers of true frames (B,) -> logits (B, T, class_num)."""
        if self.concat_n_frames > 1:
            features = with_neighbours(features, lengths, self.concat_n_frames)
        return self.linear(features)


class HiddenProbe(nn.Module):
    """Linear, dropout, rectifier, linear.

    Args:
        input_dim: D.
        class_num: number of classes.
        hidden_size: width between the layers.
        dropout: part that is dropped in training.
    """

    def __init__(self, input_dim: int, class_num: int, hidden_size: Count = 768, dropout: Part = 0.0):
        super().__init__()
        self.in_linear = nn.Linear(input_dim, hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.out_linear = nn.Linear(hidden_size, class_num)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D) and numbers of true frames (B,), which do not matter -> logits (B, T, class_num)."""
        return self.out_linear(self.dropout(self.in_linear(features)).relu())
