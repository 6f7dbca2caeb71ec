"""DiffWave (Kong et al. 2021): a WaveNet that looks both ways and finds the noise in a waveform. Spec: audio-generation.md 10."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from utility.errors import ConfigError, DataError
from utility.training.fields import Count, check_name, made_of

from .diffwave_parts import Conditioned, Conv, StepEmbedding, ZeroConv
from .weight_norm import NormedWeight

# name -> the module of this folder whose ``network_of(fields, source)`` makes it; imported when it is asked for
BACKBONES = {"wavenet": "diffwave", "sashimi": "diffwave_sashimi"}


class ResidualLayer(Conditioned):
    """A dilated convolution of three taps with a gate.

    Args:
        channels: width C between the layers.
        skip_channels: width S of what all layers sum up.
        dilation: between the taps.
        d_step: width of the embedded step.
        upsample: see :class:`Conditioned`.
        step_stays: the step goes on to the next layer beside the input, as in weights trained with public code that changed the input in
            place.
    """

    def __init__(self, channels: int, skip_channels: int, dilation: int, d_step: int, upsample: Sequence[int], step_stays: bool):
        super().__init__(2 * channels, upsample)
        self.step_stays = step_stays
        self.fc_t = nn.Linear(d_step, channels)
        self.dilated_conv_layer = Conv(channels, 2 * channels, 3, dilation)
        self.res_conv, self.skip_conv = Conv(channels, channels).conv, Conv(channels, skip_channels).conv

    def forward(self, x: Tensor, step: Tensor, mel: Tensor | None) -> tuple[Tensor, Tensor]:
        """(B, C, L), embedded step (B, d_step) -> what the next layer reads (B, C, L) and the skip (B, S, L)."""
        told = x + self.fc_t(step).unsqueeze(-1)
        both = self.dilated_conv_layer(told)
        if mel is not None:
            both = both + self.condition(mel, x.size(-1))
        value, gate = both.chunk(2, 1)
        z = torch.tanh(value) * torch.sigmoid(gate)
        onward = (told if self.step_stays else x) + _pointwise(self.res_conv, z)
        return onward * math.sqrt(0.5), _pointwise(self.skip_conv, z)


def _pointwise(weight: NormedWeight, x: Tensor) -> Tensor:
    return nn.functional.conv1d(x, weight.value(), weight.bias)


class ResidualGroup(StepEmbedding):
    """All layers, whose dilations are 1, 2, 4 ... again and again; arguments as in :class:`DiffWaveNet`."""

    def __init__(
        self, widths: tuple[int, int, int], channels: int, skip_channels: int, layers: int, cycle: int, upsample: Sequence[int], stays: bool
    ):
        super().__init__()
        self._embed_by(widths)
        self.residual_blocks = nn.ModuleList(
            ResidualLayer(channels, skip_channels, 2 ** (n % cycle), widths[2], upsample, stays) for n in range(layers)
        )

    def forward(self, x: Tensor, steps: Tensor, mel: Tensor | None) -> Tensor:
        """(B, C, L), steps (B,) -> the skips' sum over the root of their number, (B, S, L)."""
        step, total = self.embedded(steps), torch.zeros((), device=x.device, dtype=x.dtype)
        for layer in self.residual_blocks:
            x, skip = layer(x, step, mel)
            total = total + skip
        return total * math.sqrt(1 / len(self.residual_blocks))


class DiffWave(nn.Module):
    """Base of both networks: a waveform and the step go in, the noise in it comes out.

    Args:
        hop: samples of a mel frame; 0: no spectrogram is wanted.
        pooled: what the number of samples must be a multiple of.
    """

    def __init__(self, hop: int, pooled: int = 1):
        super().__init__()
        self.hop, self.pooled = hop, pooled

    def forward(self, wavs: Tensor, steps: Tensor, mel: Tensor | None = None) -> Tensor:
        """
        Args:
            wavs: (B, L).
            steps: (B,), not necessarily whole.
            mel: (B, 80, T) with T * hop >= L, for a network that is conditional.

        Returns:
            (B, L), noise of deviation 1.

        Raises:
            DataError: a length or a spectrogram that does not fit.
        """
        length = wavs.size(1)
        if length % self.pooled:
            raise DataError(f"waveforms of {length} samples: the network needs a multiple of {self.pooled}")
        if (mel is not None) != bool(self.hop):
            raise DataError("the network wants a mel spectrogram" if self.hop else "the network takes no mel spectrogram")
        if mel is not None and mel.size(-1) * self.hop < length:
            raise DataError(f"{mel.size(-1)} mel frames of {self.hop} samples are too few for {length} samples")
        return self.noise(wavs.unsqueeze(1), steps, mel).squeeze(1)

    def noise(self, x: Tensor, steps: Tensor, mel: Tensor | None) -> Tensor:
        """(B, 1, L) -> (B, 1, L)."""
        raise NotImplementedError


class DiffWaveNet(DiffWave):
    """DiffWave's own network.

    Args:
        res_channels: width between the layers.
        skip_channels: width of their sum.
        num_res_layers: layers.
        dilation_cycle: after so many layers the dilations begin again with 1.
        diffusion_step_embed_dim_in, diffusion_step_embed_dim_mid, diffusion_step_embed_dim_out: widths of the embedded step.
        unconditional: no mel spectrogram is heard.
        mel_upsample: even factors whose product is the hop of the spectrogram.
        step_stays: for weights of older public code, see :class:`ResidualLayer`.
    """

    def __init__(
        self,
        res_channels: Count = 256,
        skip_channels: Count = 256,
        num_res_layers: Count = 36,
        dilation_cycle: Count = 12,
        diffusion_step_embed_dim_in: Count = 128,
        diffusion_step_embed_dim_mid: Count = 512,
        diffusion_step_embed_dim_out: Count = 512,
        unconditional: bool = True,
        mel_upsample: Sequence[Count] = (16, 16),
        step_stays: bool = False,
    ):
        super().__init__(hop_of(unconditional, mel_upsample))
        widths = diffusion_step_embed_dim_in, diffusion_step_embed_dim_mid, diffusion_step_embed_dim_out
        upsample = () if unconditional else tuple(mel_upsample)
        self.init_conv = nn.Sequential(Conv(1, res_channels), nn.ReLU())
        self.residual_layer = ResidualGroup(widths, res_channels, skip_channels, num_res_layers, dilation_cycle, upsample, step_stays)
        self.final_conv = nn.Sequential(Conv(skip_channels, skip_channels), nn.ReLU(), ZeroConv(skip_channels, 1))

    def noise(self, x: Tensor, steps: Tensor, mel: Tensor | None) -> Tensor:
        """(B, 1, L) -> (B, 1, L)."""
        return self.final_conv(self.residual_layer(self.init_conv(x), steps, mel))


def hop_of(unconditional: bool, mel_upsample: Sequence[int]) -> int:
    """The samples of a mel frame, 0 without spectrogram.

    Raises:
        ConfigError: an odd factor, which would change the number of samples, or none.
    """
    if unconditional:
        return 0
    if not mel_upsample or any(factor % 2 for factor in mel_upsample):
        raise ConfigError(f"mel_upsample must be even factors, not {list(mel_upsample)}")
    return math.prod(mel_upsample)


def build_diffwave(config: Mapping[str, Any], source: str) -> DiffWave:
    """The network of a config section: ``backbone`` and the fields of this network.

    Raises:
        ConfigError: unknown fields or impossible values, all of them.
        UnknownNameError: no such backbone.
    """
    fields = {name: value for name, value in config.items() if name not in ("_name_", "backbone")}
    backbone = config.get("backbone", "sashimi")
    check_name(f"backbone in {source}", backbone, BACKBONES)
    return import_module(f".{BACKBONES[backbone]}", __package__).network_of(fields, source)


def network_of(fields: Mapping[str, Any], source: str) -> DiffWaveNet:
    """DiffWave's own network; see :func:`build_diffwave`."""
    return made_of(DiffWaveNet, fields, source=source)
