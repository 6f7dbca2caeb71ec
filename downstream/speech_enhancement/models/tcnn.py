"""STFT-TCNN: dilated depthwise-separable convolutions over frames, magnitudes in, mask out (the core of Pandey and Wang, ICASSP 2019)."""

from __future__ import annotations

from torch import Tensor, nn

from utility.errors import ConfigError, UnknownNameError
from utility.training.fields import Count

MASKS = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh}
ACTIVATIONS = {"relu": nn.ReLU, "prelu": nn.PReLU}
KERNEL_SIZE = 3


class STFTTCNN(nn.Module):
    """(B, F, T) magnitudes -> (B, F, T) mask; with taps of 3, sees ``n_blocks * sum(init_dilation**i)`` frames to each side.

    Args:
        in_channels: F, bins of the spectrum.
        tcn_latent_dim: channels inside a layer.
        n_blocks: blocks, in each of which the dilation begins anew.
        num_layers: residual layers of a block.
        kernel_size: taps of the dilated convolutions, an odd number, so that the identity skips fit (the zoo's fit with 3 only).
        init_dilation: layer i of a block has this to the power of i.
        mask_activation: ``sigmoid`` (0 to 1) or ``tanh`` (-1 to 1).
        layer_activation: ``relu`` or ``prelu``.

    Attributes:
        reach: frames that it sees to each side.
    """

    def __init__(
        self,
        in_channels: Count = 257,
        tcn_latent_dim: Count = 512,
        n_blocks: Count = 3,
        num_layers: Count = 6,
        kernel_size: Count = KERNEL_SIZE,
        init_dilation: Count = 2,
        mask_activation: str = "tanh",
        layer_activation: str = "relu",
    ):
        super().__init__()
        if kernel_size % 2 == 0:
            raise ConfigError(f"kernel_size must be odd, not {kernel_size}", "model_specific (STFTTCNN)")
        if mask_activation not in MASKS:
            raise UnknownNameError("mask_activation", str(mask_activation), MASKS)
        if layer_activation not in ACTIVATIONS:
            raise UnknownNameError("layer_activation", str(layer_activation), ACTIVATIONS)
        activation = ACTIVATIONS[layer_activation]
        dilations = [init_dilation**layer for layer in range(num_layers)]
        blocks = (_Block([_Layer(in_channels, tcn_latent_dim, kernel_size, d, activation) for d in dilations]) for _ in range(n_blocks))
        self.reach = n_blocks * sum(dilations) * (kernel_size // 2)
        self.tcn = nn.Sequential()
        for number, block in enumerate(blocks):
            self.tcn.add_module(f"tcn_block_{number}", block)
        self.mask_activation = MASKS[mask_activation]()

    def forward(self, magnitudes: Tensor) -> Tensor:
        """(B, F, T) -> (B, F, T)."""
        return self.mask_activation(self.tcn(magnitudes))


class _Block(nn.Module):
    def __init__(self, layers: list[nn.Module]):
        super().__init__()
        self.network = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)


class _Layer(nn.Module):
    """Widen, convolve each channel over time, narrow, add."""

    def __init__(self, channels: int, latent: int, kernel_size: int, dilation: int, activation: type[nn.Module]):
        super().__init__()
        separable = DepthwiseSeparableConv(latent, channels, kernel_size, dilation, activation)
        self.TCM_net = nn.Sequential(nn.Conv1d(channels, latent, 1), nn.BatchNorm1d(latent), activation(), separable)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.TCM_net(x)


class DepthwiseSeparableConv(nn.Module):
    """One dilated filter per channel, then a product over channels; the name is that of ``act_reg_layer_types``."""

    def __init__(self, channels: int, out_channels: int, kernel_size: int, dilation: int, activation: type[nn.Module]):
        super().__init__()
        padding = dilation * (kernel_size - 1) // 2
        depthwise = nn.Conv1d(channels, channels, kernel_size, padding=padding, dilation=dilation, groups=channels, bias=False)
        self.net = nn.Sequential(depthwise, nn.BatchNorm1d(channels), activation(), nn.Conv1d(channels, out_channels, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)
