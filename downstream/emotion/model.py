"""S3PRL's deeper heads for emotions: convolutions before the pooling."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from downstream.blocks.pooling import SelfAttentionPooling
from utility.errors import ConfigError, UnknownNameError
from utility.training.fields import Count, CountFromZero, Part


class _OverTime(nn.Module):
    """Convolutions and poolings over time, attention over the true frames of what they leave, linear layers.

    Batches that are shorter than what the layers see at once are filled up with zeros.

    Args:
        layers: of (B, D, T), in order.
        width: of what they give.
        hidden_dim: of the linear layer before the last one.
        output_class_num: number of classes.
    """

    def __init__(self, layers: Iterable[nn.Module], width: int, hidden_dim: int, output_class_num: int):
        super().__init__()
        self.model_seq = nn.Sequential(*layers)
        self.pooling = SelfAttentionPooling(width)
        self.out_layer = nn.Sequential(nn.Linear(width, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, output_class_num))
        self._windows = [window for window in map(_window, self.model_seq) if window]

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, input_dim) and frame counts (B,) -> logits (B, classes)."""
        lacking = self._least() - features.size(1)
        hidden = self.model_seq(F.pad(features.transpose(1, 2), (0, max(0, lacking)))).transpose(1, 2)
        return self.out_layer(self.pooling(hidden, self._left_of(lengths).clamp(1, hidden.size(1))))

    def _left_of(self, lengths: Tensor) -> Tensor:
        """Frames behind the layers, of so many before them."""
        for size, stride, padding in self._windows:
            lengths = (lengths + 2 * padding - size).div(stride, rounding_mode="floor") + 1
        return lengths

    def _least(self) -> int:
        """The fewest frames that the layers make one frame of."""
        frames = 1
        for size, stride, padding in reversed(self._windows):
            frames = max(1, (frames - 1) * stride + size - 2 * padding)
        return frames


def _window(layer: nn.Module) -> tuple[int, int, int] | None:
    """Frames that a layer sees, from one view to the next, and the padding at each end; None if it sees each frame by itself."""
    if not hasattr(layer, "stride"):
        return None
    size, stride, padding = (value if isinstance(value, int) else value[0] for value in (layer.kernel_size, layer.stride, layer.padding))
    return size, stride, padding


class CNNSelfAttention(_OverTime):
    """Averages of neighbouring frames, three convolutions over time, attention, two linear layers.

    Args:
        input_dim: width of the features.
        hidden_dim: width of the convolutions.
        kernel_size: frames that a convolution, and an average, sees; odd.
        padding: zeros at each end for each of them, at most half of ``kernel_size``.
        pooling: frames from one average to the next.
        dropout: part of the activations that is dropped in training.
        output_class_num: number of classes.

    Raises:
        ConfigError: more padding, of which no average can be made.
    """

    def __init__(
        self, input_dim: int, hidden_dim: int, kernel_size: int, padding: int, pooling: int, dropout: float, output_class_num: int
    ):
        if padding > kernel_size // 2:
            raise ConfigError(f"padding must be at most half of kernel_size, {kernel_size // 2}, not {padding}", "CNNSelfAttention")

        def convolution(width: int) -> nn.Conv1d:
            return nn.Conv1d(width, hidden_dim, kernel_size, padding=padding)

        layers = [nn.AvgPool1d(kernel_size, pooling, padding), nn.Dropout(dropout), convolution(input_dim)]
        layers += [layer for _ in range(2) for layer in (nn.ReLU(), nn.Dropout(dropout), convolution(hidden_dim))]
        super().__init__(layers, hidden_dim, hidden_dim, output_class_num)


class FCN(_OverTime):
    """AlexNet over time: five convolutions with local response normalisation and attention.

    Only ``input_dim``, ``dropout`` and ``output_class_num`` count; the rest has its fixed sizes.
    """

    # Width, kernel, stride, and what follows: r = ReLU, p = pooling of 3 frames by 2, d = dropout.
    _LAYERS = ((96, 11, 4, "rpd"), (256, 5, 1, "rpd"), (384, 3, 1, "rd"), (384, 3, 1, "r"), (256, 3, 1, "p"))

    def __init__(
        self, input_dim: int, hidden_dim: int, kernel_size: int, padding: int, pooling: int, dropout: float, output_class_num: int
    ):
        following: dict[str, Callable[[], nn.Module]] = {"r": nn.ReLU, "p": lambda: nn.MaxPool1d(3, 2), "d": lambda: nn.Dropout(dropout)}
        layers: list[nn.Module] = []
        for (before, *_), (width, size, stride, names) in pairwise([(input_dim,), *self._LAYERS]):
            layers += [nn.Conv1d(before, width, size, stride, padding=size // 2), nn.LocalResponseNorm(width)]
            layers += [following[name]() for name in names]
        super().__init__(layers, width, width, output_class_num)


class DeepNet(_OverTime):
    """Three groups of convolutions, each with the largest of neighbouring frames and batch normalisation, and attention.

    Only ``input_dim``, ``dropout`` and ``output_class_num`` count; the rest has its fixed sizes.
    """

    # Width, kernels of the convolutions, and the frames of which the largest is taken.
    _GROUPS = ((10, (9, 5, 3), 3), (40, (3, 3), 2), (80, (10, 1), 2))

    def __init__(
        self, input_dim: int, hidden_dim: int, kernel_size: int, padding: int, pooling: int, dropout: float, output_class_num: int
    ):
        layers: list[nn.Module] = []
        for (before, *_), (width, sizes, largest) in pairwise([(input_dim,), *self._GROUPS]):
            layers.append(nn.Conv1d(before, width, sizes[0]))
            layers += [layer for size in sizes[1:] for layer in (nn.ReLU(), nn.Conv1d(width, width, size))]
            layers += [nn.MaxPool1d(largest, 1), nn.BatchNorm1d(width, affine=False), nn.ReLU(), nn.Dropout(dropout)]
        super().__init__([*layers, nn.Conv1d(width, width, 1)], width, 30, output_class_num)


MODELS: Mapping[str, type[nn.Module]] = {model.__name__: model for model in (CNNSelfAttention, FCN, DeepNet)}


class DeepModel(nn.Module):
    """One of :data:`MODELS` with its settings.

    Args:
        input_dim: width of the features.
        output_dim: number of classes.
        model_type: which one.
        hidden_dim, kernel_size, padding, pooling, dropout: see there.

    Raises:
        UnknownNameError: there is no such model.
        ConfigError: settings that it cannot have.
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        model_type: str,
        hidden_dim: Count = 80,
        kernel_size: Count = 5,
        padding: CountFromZero = 2,
        pooling: Count = 5,
        dropout: Part = 0.4,
    ):
        super().__init__()
        if model_type not in MODELS:
            raise UnknownNameError("model in modelrc.DeepModel.model_type", model_type, MODELS)
        self.model = MODELS[model_type](input_dim, hidden_dim, kernel_size, padding, pooling, dropout, output_dim)

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, input_dim) and frame counts (B,) -> logits (B, output_dim); the frame counts are passed on."""
        return self.model(features, lengths), lengths
