"""PASE (Pascual et al. 2019, arXiv 1904.03416) and PASE+ (Ravanelli et al. 2020, arXiv 2001.09239)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from .config import PaseConfig
from .qrnn import Qrnn
from .sinc import SincConv


def padding_of(kernel: int, stride: int) -> tuple[int, int]:
    """Mirrored frames to the left and to the right of a block's input."""
    return (kernel // 2 - 1, kernel // 2) if stride > 1 or kernel % 2 == 0 else (kernel // 2, kernel // 2)


def frames_of(samples: int, config: PaseConfig) -> list[int]:
    """The frames behind each block; all 0 from the block on that has too few to mirror."""
    counts = []
    for kernel, stride in zip(config.kwidths, config.strides, strict=True):
        left, right = padding_of(kernel, stride)
        enough = samples > max(left, right) and samples + left + right >= kernel
        samples = (samples + left + right - kernel) // stride + 1 if enough else 0
        counts.append(samples)
    return counts


def least_samples(config: PaseConfig) -> int:
    """The fewest samples that give a frame."""
    samples = 1
    for kernel, stride in reversed(list(zip(config.kwidths, config.strides, strict=True))):
        left, right = padding_of(kernel, stride)
        samples = max((samples - 1) * stride + kernel - left - right, max(left, right) + 1)
    return samples


class Block(nn.Module):
    """Convolution, batch norm and PReLU."""

    def __init__(self, inputs: int, channels: int, kernel: int, stride: int, sample_rate: int = 0):
        super().__init__()
        self.padding = (0, 0) if sample_rate else padding_of(kernel, stride)
        self.conv = SincConv(channels, kernel, sample_rate) if sample_rate else nn.Conv1d(inputs, channels, kernel, stride)
        self.norm = nn.BatchNorm1d(channels)
        self.act = nn.PReLU(channels, init=0.0)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, T) to (B, channels, frames)."""
        return self.act(self.norm(self.conv(F.pad(x, self.padding, mode="reflect") if any(self.padding) else x)))


class PaseModel(nn.Module):
    """Blocks, dense skips, QRNN and output under the published names of their weights; see :class:`PaseConfig` for the switches."""

    def __init__(self, config: PaseConfig):
        super().__init__()
        self.config = config
        inputs = (1, *config.fmaps)
        self.blocks = nn.ModuleList(
            Block(inputs[i], config.fmaps[i], config.kwidths[i], config.strides[i], 0 if i else config.sr) for i in range(len(config.fmaps))
        )
        self.denseskips = nn.ModuleList(
            nn.Conv1d(width, config.emb_dim, 1, bias=False) for width in (config.fmaps[:-1] if config.denseskips else ())
        )
        last = config.fmaps[-1]
        self.rnn = Qrnn(last, config.rnn_width, config.rnn_layers, config.rnn_dropout) if config.rnn_pool else None
        self.W = nn.Conv1d(config.rnn_width if config.rnn_pool else last, config.emb_dim, 1)
        self.norm_out = nn.BatchNorm1d(config.emb_dim, affine=False) if config.norm_out else None

    def forward(self, wavs: Tensor) -> list[Tensor]:
        """(B, L) waveforms to the states: each dense skip, the projection before the skips are added, the output; (B, T, emb_dim)."""
        frames = frames_of(wavs.size(1), self.config)[-1]
        x, skips = wavs[:, None], []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index < len(self.denseskips):
                # The mean over time and the projection, which has no bias, may change places; this order is the cheaper one.
                skips.append(self.denseskips[index](_pooled(x, frames)))
        if self.rnn is not None:
            x = self.rnn(x.transpose(1, 2)).transpose(1, 2)
        projected = self.W(x)
        states = [*skips, projected, self._output(projected, skips)]
        return [state.transpose(1, 2) for state in states]

    def _output(self, projected: Tensor, skips: list[Tensor]) -> Tensor:
        output = projected
        for skip in skips:
            output = output + skip
        if self.norm_out is not None:
            output = self.norm_out(output)
        return output.tanh() if self.config.tanh_out else output


def _pooled(x: Tensor, frames: int) -> Tensor:
    """Means of equal stretches, (B, C, Ts) to (B, C, frames); what is over at the end is left out."""
    stretch = x.size(2) // frames
    return x[:, :, : frames * stretch].unflatten(2, (frames, stretch)).mean(3) if stretch > 1 else x[:, :, :frames]
