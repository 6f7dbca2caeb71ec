"""S3PRL's deeper heads for emotions: convolutions before the pooling."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from downstream.blocks.pooling import SelfAttentionPooling
from utility.errors import UnknownNameError


class CNNSelfAttention(nn.Module):
    """Averages of neighbouring frames, three convolutions over time, attention, two linear layers.

    Args:
        input_dim: width of the features.
        hidden_dim: width of the convolutions.
        kernel_size: frames that a convolution, and an average, sees; odd.
        padding: zeros at each end for each of them.
        pooling: frames from one average to the next.
        dropout: part of the activations that is dropped in training.
        output_class_num: number of classes.
    """

    def __init__(
        self, input_dim: int, hidden_dim: int, kernel_size: int, padding: int, pooling: int, dropout: float, output_class_num: int
    ):
        super().__init__()

        def convolution(width: int) -> nn.Conv1d:
            return nn.Conv1d(width, hidden_dim, kernel_size, padding=padding)

        self.model_seq = nn.Sequential(
            *(nn.AvgPool1d(kernel_size, pooling, padding), nn.Dropout(dropout), convolution(input_dim)),
            *(nn.ReLU(), nn.Dropout(dropout), convolution(hidden_dim)),
            *(nn.ReLU(), nn.Dropout(dropout), convolution(hidden_dim)),
        )
        self.step = pooling
        self.pooling = SelfAttentionPooling(hidden_dim)
        self.out_layer = nn.Sequential(nn.Linear(hidden_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, output_class_num))

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, input_dim) and frame counts (B,) -> logits (B, classes)."""
        hidden = self.model_seq(features.transpose(1, 2)).transpose(1, 2)
        inside = (-(-lengths // self.step)).clamp(max=hidden.size(1))
        return self.out_layer(self.pooling(hidden, inside))


MODELS: Mapping[str, type[nn.Module]] = {"CNNSelfAttention": CNNSelfAttention}


class DeepModel(nn.Module):
    """One of :data:`MODELS` with its settings.

    Args:
        input_dim: width of the features.
        output_dim: number of classes.
        model_type: which one.
        hidden_dim, kernel_size, padding, pooling, dropout: see there.

    Raises:
        UnknownNameError: there is no such model.
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        model_type: str,
        hidden_dim: int = 80,
        kernel_size: int = 5,
        padding: int = 2,
        pooling: int = 5,
        dropout: float = 0.4,
    ):
        super().__init__()
        if model_type not in MODELS:
            raise UnknownNameError("model in modelrc.DeepModel.model_type", model_type, MODELS)
        self.model = MODELS[model_type](input_dim, hidden_dim, kernel_size, padding, pooling, dropout, output_dim)

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, input_dim) and frame counts (B,) -> logits (B, output_dim); the frame counts are passed on."""
        return self.model(features, lengths), lengths
