"""A small causal network of the class of GTCRN (Rong et al., ICASSP 2024), from its published description; here with a real mask.

Bands in place of bins above a corner, subbands unfolded, convolutions over frequency and past frames with few channels, recurrence over
frequency and then over time in groups of channels, and the way back with the features of each stage added.
"""

from __future__ import annotations

from itertools import repeat

import torch
from torch import Tensor, nn
from torch.nn import functional

from utility.errors import ConfigError
from utility.training.fields import Count

State = list[Tensor | list[Tensor]]
COMPRESSION = 0.3  # power of the magnitudes that are read
FLOOR = 1e-8


class BandGRU(nn.Module):
    """(B, F, T) magnitudes -> (B, F, T) mask from 0 to 1; sees the current frame and all before it.

    Args:
        in_channels: F.
        low_bins: bins that stay as they are, from the lowest on.
        bands: into which the bins above are gathered, evenly on the ERB scale.
        sample_rate: in Hz, for this scale.
        channels: of the convolutions, a multiple of 4.
        dilations: frames from tap to tap of the layers over time, in the encoder and, backwards, in the decoder.
        dual_paths: pairs of recurrences over frequency and over time.
    """

    def __init__(
        self,
        in_channels: Count = 257,
        low_bins: Count = 65,
        bands: Count = 64,
        sample_rate: Count = 16000,
        channels: Count = 16,
        dilations: list | tuple = (1, 2, 5),
        dual_paths: Count = 2,
    ):
        super().__init__()
        low_bins = min(low_bins, in_channels - 1)
        if channels % 4:
            raise ConfigError(f"channels must be a multiple of 4, not {channels}", "model_specific (BandGRU)")
        self.bands = Bands(in_channels, low_bins, min(bands, in_channels - low_bins), sample_rate)
        self.down = nn.ModuleList([_Down(3, channels), _Down(channels, channels)])
        self.past = nn.ModuleList(_Past(channels, dilation) for dilation in dilations)
        self.paths = nn.ModuleList(_DualPath(channels) for _ in range(dual_paths))
        self.future_free = nn.ModuleList(_Past(channels, dilation) for dilation in reversed(dilations))
        self.up = nn.ModuleList([_Up(channels, channels), _Up(channels, 1, last=True)])

    def forward(self, magnitudes: Tensor) -> Tensor:
        """(B, F, T) -> (B, F, T)."""
        return self.step(magnitudes, None)[0]

    def step(self, magnitudes: Tensor, state: State | None) -> tuple[Tensor, State]:
        """The next frames (B, F, n), after those that the state (None: none) comes from, -> their mask and the next state."""
        before, after = iter(state) if state else repeat(None), []
        banded = self.bands.gather((magnitudes + FLOOR).pow(COMPRESSION))  # (B, W, T)
        widths, kept = [], []
        x = _unfold(banded.transpose(1, 2).unsqueeze(1))  # (B, 3, T, W)
        for layer in self.down:
            widths.append(x.size(-1))
            x = layer(x)
            kept.append(x)
        for layer in self.past:
            x, memory = layer(x, next(before))
            kept.append(x)
            after.append(memory)
        for layer in self.paths:
            x, memory = layer(x, next(before))
            after.append(memory)
        for layer in self.future_free:
            x, memory = layer(x + kept.pop(), next(before))
            after.append(memory)
        for layer in self.up:
            x = layer(x + kept.pop(), widths.pop())
        return self.bands.spread(torch.sigmoid(x).squeeze(1).transpose(1, 2)), after


class Bands(nn.Module):
    """Bins to bands and back: the low bins as they are, the others in triangles that overlap evenly on the ERB scale.

    Args:
        bins: F.
        low: bins that stay.
        bands: in place of the others.
        sample_rate: in Hz.
    """

    def __init__(self, bins: int, low: int, bands: int, sample_rate: int):
        super().__init__()
        self.low = low
        hertz = torch.linspace(0, sample_rate / 2, bins, dtype=torch.float64)[low:]
        scale = 21.4 * torch.log10(1 + 0.00437 * hertz)  # Glasberg and Moore 1990
        centres = torch.linspace(float(scale[0]), float(scale[-1]), bands, dtype=torch.float64)
        step = float(centres[1] - centres[0]) if bands > 1 else 1.0
        triangles = (1 - (scale - centres.unsqueeze(1)).abs() / step).clamp_min(0).float()  # (bands, bins - low); columns sum to 1
        means = triangles / triangles.sum(1, keepdim=True).clamp_min(FLOOR)
        self.register_buffer("means", means.unsqueeze(-1), persistent=False)
        self.register_buffer("triangles", triangles.T.unsqueeze(-1).contiguous(), persistent=False)

    def gather(self, x: Tensor) -> Tensor:
        """(B, F, T) -> (B, low + bands, T), averages."""
        return torch.cat([x[:, : self.low], functional.conv1d(x[:, self.low :], self.means)], 1)

    def spread(self, x: Tensor) -> Tensor:
        """(B, low + bands, T) -> (B, F, T), interpolated."""
        return torch.cat([x[:, : self.low], functional.conv1d(x[:, self.low :], self.triangles)], 1)


def _unfold(x: Tensor) -> Tensor:
    """(B, 1, T, W) -> (B, 3, T, W): each band with its neighbours."""
    padded = functional.pad(x, (1, 1))
    return torch.cat([padded[..., :-2], x, padded[..., 2:]], 1)


class _Down(nn.Module):
    """Halves the width: (B, C, T, W) -> (B, C', T, (W + 1) // 2)."""

    def __init__(self, channels: int, out_channels: int):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(channels, out_channels, (1, 5), (1, 2), (0, 2)), nn.BatchNorm2d(out_channels), nn.PReLU(out_channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class _Up(nn.Module):
    """Doubles the width again, to the width that it had."""

    def __init__(self, channels: int, out_channels: int, last: bool = False):
        super().__init__()
        self.conv = nn.ConvTranspose2d(channels, out_channels, (1, 5), (1, 2), (0, 2))
        self.rest = nn.Identity() if last else nn.Sequential(nn.BatchNorm2d(out_channels), nn.PReLU(out_channels))

    def forward(self, x: Tensor, width: int) -> Tensor:
        return self.rest(functional.pad(self.conv(x), (0, width - (2 * x.size(-1) - 1))))


class _Past(nn.Module):
    """Half of the channels through a depthwise convolution over three past frames and three bands, beside the other half; then shuffled."""

    def __init__(self, channels: int, dilation: int):
        super().__init__()
        half = channels // 2
        self.dilation = dilation
        self.wide = nn.Sequential(nn.Conv2d(half, half, 1), nn.BatchNorm2d(half), nn.PReLU(half))
        self.depthwise = nn.Sequential(
            nn.Conv2d(half, half, 3, padding=(0, 1), dilation=(dilation, 1), groups=half), nn.BatchNorm2d(half), nn.PReLU(half)
        )
        self.narrow = nn.Sequential(nn.Conv2d(half, half, 1), nn.BatchNorm2d(half))

    def forward(self, x: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        """``past``, and the second result: the frames that the convolution reaches back to; None for zeros."""
        moved, stays = x.chunk(2, 1)
        wide, reach = self.wide(moved), 2 * self.dilation
        wide = functional.pad(wide, (0, 0, reach, 0)) if past is None else torch.cat([past, wide], 2)
        moved = self.narrow(self.depthwise(wide)) + moved
        return torch.stack([moved, stays], 2).flatten(1, 2), wide[:, :, -reach:]


class _DualPath(nn.Module):
    """Recurrence over frequency, both ways, and then over time, forwards; groups of channels have small GRUs of their own."""

    def __init__(self, channels: int):
        super().__init__()
        self.over_bands = _Recurrence(channels, bidirectional=True)
        self.over_time = _Recurrence(channels, bidirectional=False)

    def forward(self, x: Tensor, past: list[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        """``past``, and the second result: the states of the recurrence over time."""
        batch, channels, frames, width = x.shape
        rows = x.permute(0, 2, 3, 1)  # (B, T, W, C)
        rows = rows + self.over_bands(rows.reshape(batch * frames, width, channels))[0].view(batch, frames, width, channels)
        columns = rows.transpose(1, 2)
        moved, states = self.over_time(columns.reshape(batch * width, frames, channels), past)
        columns = columns + moved.view(batch, width, frames, channels)
        return columns.permute(0, 3, 2, 1), states


class _Recurrence(nn.Module):
    """(N, L, C) -> (N, L, C): a GRU for each half of the channels, a linear layer over both, a norm of each place."""

    def __init__(self, channels: int, bidirectional: bool):
        super().__init__()
        half = channels // 2
        hidden = half // 2 if bidirectional else half
        self.grus = nn.ModuleList(nn.GRU(half, hidden, batch_first=True, bidirectional=bidirectional) for _ in range(2))
        self.linear, self.norm = nn.Linear(channels, channels), nn.LayerNorm(channels)

    def forward(self, x: Tensor, past: list[Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
        runs = [gru(half, state) for gru, half, state in zip(self.grus, x.chunk(2, -1), past or (None, None), strict=True)]
        return self.norm(self.linear(torch.cat([half for half, _ in runs], -1))), [state for _, state in runs]
