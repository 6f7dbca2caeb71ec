"""DiffWave with a SaShiMi that looks both ways: a U-net of S4 layers, pooled in time (Goel et al. 2022; spec: audio-generation.md 10)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from utility.training.fields import Count, check_options, made_of

from .diffwave import DiffWave, hop_of
from .diffwave_parts import Conditioned, Conv, StepEmbedding, ZeroConv, normed
from .s4_layer import S4Block, check_layer
from .sashimi_blocks import DownPool, ScalarNorm, UpPool, widths
from .sashimi_body import check_shape

LAYER = {"lr": {"B": 0.0}}  # with B as it is first, the numbers of weights are the published 23.0 and 7.5 million


class NormedPointwise(nn.Module):
    """A linear layer with the names and the shape of a normalised convolution, (..., in) -> (..., out)."""

    def __init__(self, d_input: int, d_output: int):
        super().__init__()
        self.conv = normed((d_output, d_input, 1), d_output)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.conv.value().squeeze(-1), self.conv.bias)


class FeedForward(nn.Module):
    """Two pointwise layers with a GELU between them."""

    def __init__(self, d_model: int, expand: int):
        super().__init__()
        self.ff = nn.Sequential(NormedPointwise(d_model, expand * d_model), nn.GELU(), NormedPointwise(expand * d_model, d_model))

    def forward(self, x: Tensor) -> Tensor:
        """(..., H) -> (..., H)."""
        return self.ff(x)


class DiffusionBlock(Conditioned):
    """A residual S4 layer that is told the step and may hear a spectrogram, and a residual feed-forward layer.

    Args:
        d_model: H.
        ff: inner width of the feed-forward layer over H.
        d_step: width of the embedded step.
        upsample: see :class:`Conditioned`.
        pooled: samples in one moment, as far as the spectrogram is concerned.
        layer: fields of ``S4Block``.
    """

    def __init__(self, d_model: int, ff: int, d_step: int, upsample: Sequence[int], pooled: int, layer: Mapping[str, Any]):
        super().__init__(d_model, upsample)
        self.pooled = pooled
        self.fc_t = nn.Linear(d_step, d_model)
        self.layer = S4Block(d_model, transposed=False, **layer)
        self.ff = FeedForward(d_model, ff)
        self.norm1, self.norm2 = ScalarNorm(), ScalarNorm()

    def forward(self, x: Tensor, step: Tensor, mel: Tensor | None) -> Tensor:
        """(B, L, H), embedded step (B, d_step), spectrogram or None -> (B, L, H)."""
        y = self.layer(self.norm1(x) + self.fc_t(step).unsqueeze(1))[0]
        if mel is not None:
            y = y + self.condition(mel, x.size(1), self.pooled).mT
        x = x + y
        return x + self.ff(self.norm2(x))


class DiffWaveSashimi(DiffWave, StepEmbedding):
    """DiffWave with S4 layers in place of dilated convolutions.

    Args:
        d_model: width at the rate of the samples.
        n_layers: blocks of each level.
        pool: moments that each pool joins.
        expand: growth of the width at each pool.
        ff: see :class:`DiffusionBlock`.
        unet: blocks on the way down as well, and a skip connection for each block.
        L: samples that a kernel reaches back and forth at most; None: as many as there are.
        bidirectional: the layers look both ways.
        layer: further fields of ``S4Block``.
        diffusion_step_embed_dim_in, diffusion_step_embed_dim_mid, diffusion_step_embed_dim_out: widths of the embedded step.
        unconditional: no mel spectrogram is heard.
        mel_upsample: even factors whose product is the hop of the spectrogram.
        mel_truncated: pooled levels hear the beginning of the spectrogram, stretched, as in the public code, in place of its averages.

    Raises:
        ConfigError: impossible sizes.
    """

    def __init__(
        self,
        d_model: Count = 128,
        n_layers: Count = 6,
        pool: Sequence[Count] = (4, 4),
        expand: Count = 2,
        ff: Count = 2,
        unet: bool = True,
        L: Count | None = 16000,  # noqa: N803, as in the public configs
        bidirectional: bool = True,
        layer: Mapping[str, Any] | None = None,
        diffusion_step_embed_dim_in: Count = 128,
        diffusion_step_embed_dim_mid: Count = 512,
        diffusion_step_embed_dim_out: Count = 512,
        unconditional: bool = True,
        mel_upsample: Sequence[Count] = (16, 16),
        mel_truncated: bool = False,
    ):
        check_shape(n_layers, pool, expand=expand, ff=ff)
        super().__init__(hop_of(unconditional, mel_upsample), math.prod(pool))
        self.unet = unet
        self._embed_by((diffusion_step_embed_dim_in, diffusion_step_embed_dim_mid, diffusion_step_embed_dim_out))
        sizes, factors = widths(d_model, pool, expand), [math.prod(pool[:level]) for level in range(len(pool) + 1)]

        def blocks(level: int) -> list[nn.Module]:
            reach = None if L is None else max(L // factors[level], 1)
            fields = {"bidirectional": bidirectional, "l_max": reach, **LAYER, **(layer or {})}
            heard, pooled = () if unconditional else tuple(mel_upsample), 1 if mel_truncated else factors[level]
            return [DiffusionBlock(sizes[level], ff, diffusion_step_embed_dim_out, heard, pooled, fields) for _ in range(n_layers)]

        down: list[nn.Module] = []
        up: list[nn.Module] = []
        for level, ((high, low), factor) in enumerate(zip(pairwise(sizes), pool, strict=True)):
            down += [*(blocks(level) if unet else []), DownPool(high, low, factor, NormedPointwise)]
            up = [UpPool(low, high, factor, NormedPointwise, shift=False), *blocks(level), *up]
        self.d_layers, self.c_layers, self.u_layers = nn.ModuleList(down), nn.ModuleList(blocks(len(pool))), nn.ModuleList(up)
        self.init_conv = nn.Sequential(Conv(1, d_model), nn.ReLU())
        self.norm = ScalarNorm()
        self.final_conv = nn.Sequential(Conv(d_model, d_model), nn.ReLU(), ZeroConv(d_model, 1))

    def noise(self, x: Tensor, steps: Tensor, mel: Tensor | None) -> Tensor:
        """(B, 1, L) -> (B, 1, L)."""
        step = self.embedded(steps)
        x, skips = self.init_conv(x).mT, []
        for layer in self.d_layers:
            skips.append(x)
            x = layer(x, step, mel) if isinstance(layer, DiffusionBlock) else layer(x)
        skips.append(x)
        for layer in self.c_layers:
            x = layer(x, step, mel)
        x = x + skips.pop()
        for layer in self.u_layers:
            x = layer(x, step, mel) if isinstance(layer, DiffusionBlock) else layer(x)
            if self.unet or isinstance(layer, UpPool):
                x = x + skips.pop()
        return self.final_conv(self.norm(x).mT)


def network_of(fields: Mapping[str, Any], source: str) -> DiffWaveSashimi:
    """DiffWave with SaShiMi; see :func:`.diffwave.build_diffwave`."""
    check_options(DiffWaveSashimi, fields, source=source)
    check_layer(fields.get("layer") or {}, source=f"{source}.layer")
    return made_of(DiffWaveSashimi, fields, source=source)
