"""SaShiMi to be used alone: (batch, seq, dim) -> (batch, seq, dim), and step by step.

    sashimi = Sashimi()
    y = sashimi(x)

    sashimi.eval()
    sashimi.setup_rnn()                                    # or setup_rnn("diagonal"), setup_rnn("linear")
    state = sashimi.default_state(*x.shape[:1], device=x.device)
    y, state = sashimi.step(x[:, 0], state)

Weights are those of the public stand-alone class; its norms, linear layers and kernels differ from those of the modular backbone
(``backbone.py``), so that neither loads the other's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from utility.training.fields import Count, Part, check_options, keywords_of, said_of

from .s4_layer import S4Block, check_layer
from .sashimi_blocks import DownPool, FeedForward, Pointwise, ResidualBlock, UpPool, widths
from .sashimi_body import SashimiBody, check_shape


class Sashimi(SashimiBody):
    """The stand-alone backbone.

    Args:
        d_model: width of input and output.
        n_layers: pairs of S4 and feed-forward blocks at each level.
        pool: moments that each pool joins; the length of a sequence must be a multiple of their product.
        expand: growth of the width at each pool.
        ff: inner width of the feed-forward blocks over their width.
        bidirectional: the S4 layers look ahead too; the pools stay causal.
        unet: blocks on the way down as well.
        dropout: probability.
        s4_args: further arguments of ``S4Block``.

    Raises:
        ConfigError: impossible sizes, unknown arguments.
    """

    def __init__(
        self,
        d_model: Count = 64,
        n_layers: Count = 8,
        pool: Sequence[Count] = (4, 4),
        expand: Count = 2,
        ff: Count = 2,
        bidirectional: bool = False,
        unet: bool = False,
        dropout: Part = 0.0,
        **s4_args: Any,
    ):
        super().__init__()
        check_shape(n_layers, pool, expand=expand, ff=ff)

        def blocks(width: int) -> list[nn.Module]:
            made = []
            for _ in range(n_layers):
                layer = S4Block(width, bidirectional=bidirectional, dropout=dropout, transposed=False, **s4_args)
                made += [layer, FeedForward(width, ff, dropout, Pointwise)]
            return [ResidualBlock(nn.LayerNorm(width), layer, dropout) for layer in made]

        sizes = widths(d_model, pool, expand)
        down = []
        for p, width in zip(pool, sizes, strict=False):
            down += [*(blocks(width) if unet else ()), DownPool(width, width * expand, p, Pointwise)]
        self.d_layers = nn.ModuleList(down)
        self.c_layers = nn.ModuleList(blocks(sizes[-1]))
        groups = [[UpPool(width * expand, width, p, Pointwise), *blocks(width)] for p, width in zip(pool, sizes, strict=False)][::-1]
        self.u_layers = nn.ModuleList(nn.ModuleList(group) for group in groups)
        self.norm = nn.LayerNorm(d_model)
        self._arrange(d_model, pool, unet, down, [module for group in groups for module in group])

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, d_model) -> (B, L, d_model).

        Raises:
            DataError: L is no multiple of the pools' product.
        """
        return self._whole(x)

    @torch.no_grad()
    def setup_rnn(self, mode: str = "dense") -> None:
        """Prepares ``step`` from the weights of now; call it again after any change of them. ``forward`` goes on working.

        Args:
            mode: "dense", "diagonal" or "linear".

        Raises:
            ConfigError: the model is bidirectional.
            UnknownNameError: another mode.
        """
        self.setup_step(mode)


class SashimiStandalone(Sashimi):
    """The stand-alone backbone as part of a ``CodeModel``; see ``code_model.Backbone``."""

    warm_up = 0

    def __init__(self, **fields: Any):
        super().__init__(**fields)
        self.d_input = self.d_output = self.d_model

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, None]:
        """(B, L, d_model) -> ((B, L, d_model), None)."""
        return self._whole(x), None

    def stepper(self, batch: int, mode: str | None, encoder: Tensor, decoder: tuple[Tensor, Tensor]) -> Any:
        """See ``sashimi_step.stepper_of``."""
        from .sashimi_step import stepper_of

        return stepper_of(self, batch, mode, encoder, decoder)


def backbone_of(name: str, fields: Mapping[str, Any], source: str) -> SashimiStandalone:
    """The backbone of a config section; see ``build.build``."""
    where = f"{source} ({name})"
    check_layer(fields, keywords_of(Sashimi), source=where)
    check_options(Sashimi, fields, source=where)
    with said_of(where):
        return SashimiStandalone(**fields)
