"""LDNet: a convolutional encoder of the magnitude spectrogram and a score by each listener (Huang et al., ICASSP 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from utility.errors import ConfigError
from utility.training.fields import Count

from .parts import Answer, Conditions, FrameScores, Projection, beside, last_index, over_frames

BLOCKS = (
    (16, 3, 16, 16, True, "RE", 3, 1),
    (16, 3, 72, 24, False, "RE", 3, 1),
    (24, 3, 88, 24, False, "RE", 1, 1),
    (24, 5, 96, 40, True, "HS", 3, 1),
    (40, 5, 240, 40, True, "HS", 1, 1),
    (40, 5, 240, 40, True, "HS", 1, 1),
    (40, 5, 120, 48, True, "HS", 1, 1),
    (48, 5, 144, 48, True, "HS", 1, 1),
    (48, 5, 288, 96, True, "HS", 3, 1),
    (96, 5, 576, 96, True, "HS", 1, 1),
    (96, 5, 576, 96, True, "HS", 1, 1),
)
NONLINEARITIES = {"RE": nn.ReLU, "HS": nn.Hardswish}


class LDNet(nn.Module):
    """(B, T, 257) magnitudes to scores of each frame.

    Args:
        num_listeners: listeners, the mean listener last.
        listener_emb_dim: width of their embeddings.
        encoder_bneck_configs: of each block: channels in, kernel, expanded channels, channels out, squeeze and excitation, ``RE`` or
            ``HS``, stride over frequencies, dilation.
        encoder_output_dim: width of the encoder's output.
        decoder_dnn_dim, activation, range_clipping: of the projection to a listener's score.
        use_mean_net: a second projection to the mean score, with ``mean_net_dnn_dim`` and ``mean_net_range_clipping``.
    """

    def __init__(
        self,
        num_listeners: int,
        listener_emb_dim: Count = 128,
        activation: str = "ReLU",
        encoder_bneck_configs: Sequence[Sequence] = BLOCKS,
        encoder_output_dim: Count = 256,
        decoder_dnn_dim: Count = 64,
        range_clipping: bool = True,
        use_mean_net: bool = False,
        mean_net_dnn_dim: Count = 64,
        mean_net_range_clipping: bool = True,
    ):
        super().__init__()
        self.listener_embeddings = nn.Embedding(num_listeners, listener_emb_dim)
        self.encoder = Encoder(encoder_bneck_configs, encoder_output_dim)
        width = encoder_output_dim + listener_emb_dim
        self.decoder_dnn = Projection(width, decoder_dnn_dim, activation, range_clipping=range_clipping)
        if use_mean_net:
            self.mean_net_dnn = Projection(encoder_output_dim, mean_net_dnn_dim, activation, range_clipping=mean_net_range_clipping)
        self.has_mean_net = use_mean_net

    def forward(self, magnitudes: Tensor, conditions: Conditions, lengths: Tensor | None = None) -> FrameScores:
        """(B, T, 257) -> scores of each frame by the given listeners and, with a mean net, on average."""
        x = self.encoder(magnitudes)
        listener = self.decoder_dnn(beside(x, self.listener_embeddings(conditions.listeners)))[0]
        return FrameScores(self.mean_net_dnn(x)[0] if self.has_mean_net else None, listener)

    def answer(self, magnitudes: Tensor, conditions: Conditions, lengths: Tensor | None = None) -> Answer:
        """Utterance scores by the mean listener."""
        mean_listener = last_index(self.listener_embeddings, len(magnitudes), magnitudes.device)
        return Answer(over_frames(self(magnitudes, replace(conditions, listeners=mean_listener)).listener, lengths))


class Encoder(nn.Module):
    """MobileNetV3 whose strides act on frequencies alone, (B, T, F) -> (B, T, D)."""

    def __init__(self, blocks: Sequence[Sequence], output_dim: int):
        super().__init__()
        if not blocks or not all(map(_is_block, blocks)):
            raise ConfigError("encoder_bneck_configs must hold lists of eight, such as [16, 3, 72, 24, False, RE, 3, 1]", "model_params")
        first, last = _convolution(1, _rounded(blocks[0][0]), 3, 3, 1, 1, nn.Hardswish), _rounded(blocks[-1][3])
        self.features = nn.Sequential(first, *map(_Block, blocks), _convolution(last, output_dim, 1, 1, 1, 1, nn.Hardswish))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x[:, None])
        return adaptive_avg_pool2d(x, (x.size(2), 1))[..., 0].transpose(1, 2)


def _is_block(config: Sequence) -> bool:
    """Whether a list may describe a block: whole numbers above 0, save whether it squeezes and its nonlinearity."""
    if not isinstance(config, list | tuple) or len(config) != 8 or config[5] not in list(NONLINEARITIES):
        return False
    counts = [own for place, own in enumerate(config) if place not in (4, 5)]
    return isinstance(config[4], bool) and all(type(own) is int and own > 0 for own in counts)


class _Block(nn.Module):
    """An inverted residual."""

    def __init__(self, config: Sequence):
        super().__init__()
        channels, kernel, expanded, out, squeezes, nonlinearity, stride, dilation = config
        channels, expanded, out, activation = _rounded(channels), _rounded(expanded), _rounded(out), NONLINEARITIES[nonlinearity]
        self.residual = stride == 1 and channels == out
        widen = [_convolution(channels, expanded, 1, 1, 1, 1, activation)] if expanded != channels else []
        depthwise = _convolution(expanded, expanded, kernel, 1 if dilation > 1 else stride, dilation, expanded, activation)
        squeeze = [_SqueezeExcitation(expanded)] if squeezes else []
        self.block = nn.Sequential(*widen, depthwise, *squeeze, _convolution(expanded, out, 1, 1, 1, 1, None))

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x) + x if self.residual else self.block(x)


class _SqueezeExcitation(nn.Module):
    """Channels weighted by what a small net makes of their means."""

    def __init__(self, channels: int):
        super().__init__()
        squeezed = _rounded(channels // 4)
        self.fc1, self.fc2 = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * nn.functional.hardsigmoid(self.fc2(self.fc1(adaptive_avg_pool2d(x, 1)).relu()))


def _convolution(
    channels: int, out: int, kernel: int, stride: int, dilation: int, groups: int, activation: type[nn.Module] | None
) -> nn.Sequential:
    """Convolution and batch norm; the stride is over frequencies."""
    padding = (kernel - 1) // 2 * dilation
    convolution = nn.Conv2d(channels, out, kernel, (1, stride), padding, dilation, groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out), *([activation()] if activation else []))


def _rounded(channels: float, divisor: int = 8) -> int:
    """The nearest multiple of 8 that is no more than a tenth below."""
    nearest = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * channels else nearest
