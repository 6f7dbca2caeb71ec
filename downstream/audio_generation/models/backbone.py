"""The SaShiMi backbones of the official configs: ``sashimi`` and ``unet`` (spec: audio-generation.md 2, 3, 6.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from utility.errors import ConfigError
from utility.training.fields import Count, Part, check_fields, check_options, keywords_of, said_of

from .s4_layer import S4Block, check_layer
from .sashimi_blocks import DownPool, FeedForward, Norm, NormedLinear, ResidualBlock, UpPool, set_decay, widths
from .sashimi_body import SashimiBody, check_shape

LAYER = {"n_ssm": 1, "dt_transform": "softplus", "lr": 0.001}  # what the official layer config has other than the class
LAYER_NAMES = ("s4", "s4d")
# fields of the official configs that have but one value here
FIXED = {
    "prenorm": True,
    "residual": "R",
    "norm": "layer",
    "transposed": True,
    "interp": 0,
    "act_pool": None,
    "pool_mode": "linear",
    "initializer": None,
    "dropres": 0.0,
    "track_norms": False,
}


class SashimiBackbone(SashimiBody):
    """Causal SaShiMi with weight-normed pools.

    Args:
        d_model: width of input and output.
        n_layers: pairs of S4 and feed-forward blocks at each level.
        pool: moments that each pool joins.
        expand: growth of the width at each pool.
        ff: inner width of the feed-forward blocks over their width.
        dropout: probability.
        layer: arguments of ``S4Block`` beside those of ``LAYER``; ``_name_`` "s4" or "s4d".

    Raises:
        ConfigError: impossible sizes, unknown fields of the layer.
    """

    warm_up = 0
    unet = False
    pool_linear: type[nn.Module] = NormedLinear

    def __init__(
        self,
        d_model: Count = 64,
        n_layers: Count = 8,
        pool: Sequence[Count] = (4, 4),
        expand: Count = 2,
        ff: Count = 2,
        dropout: Part = 0.0,
        layer: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        check_shape(n_layers, pool, expand=expand, ff=ff)
        self.d_input = self.d_output = d_model
        self._make(widths(d_model, pool, expand), pool, n_layers, dropout, (ff, ff), layer_fields(layer or {}))
        self.norm = nn.LayerNorm(d_model)
        set_decay(self)

    def _make(
        self, sizes: list[int], pool: Sequence[int], n_layers: int, dropout: float, ff: tuple[int, int], layer: dict[str, Any]
    ) -> None:
        def blocks(width: int, inner: int) -> list[nn.Module]:
            made: list[nn.Module] = []
            for _ in range(n_layers):
                made += [S4Block(width, **{"dropout": dropout, **layer}, transposed=False), FeedForward(width, inner, dropout)]
            return [ResidualBlock(Norm(), part, dropout) for part in made]

        steps = [(p, *pair) for p, pair in zip(pool, pairwise(sizes), strict=True)]
        down: list[nn.Module] = []
        for p, narrow, wide in steps:
            down += [*(blocks(narrow, ff[0]) if self.unet else ()), DownPool(narrow, wide, p, self.pool_linear)]
        self.d_layers = nn.ModuleList(down)
        self.c_layers = nn.ModuleList(blocks(sizes[-1], ff[1]))
        groups = [[UpPool(wide, narrow, p, self.pool_linear), *blocks(narrow, ff[0])] for p, narrow, wide in steps[::-1]]
        up = [module for group in groups for module in group]
        self.u_layers = nn.ModuleList(up if self.unet else [nn.ModuleList(group) for group in groups])
        self._arrange(sizes[0], pool, self.unet, down, up)

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, None]:
        """(B, L, d_model) -> ((B, L, d_model), None).

        Raises:
            DataError: L is no multiple of the pools' product.
        """
        return self._whole(x), None

    def stepper(self, batch: int, mode: str | None, encoder: Tensor, decoder: tuple[Tensor, Tensor]) -> Any:
        """See ``sashimi_step.stepper_of``."""
        from .sashimi_step import stepper_of

        return stepper_of(self, batch, mode, encoder, decoder)


class UnetBackbone(SashimiBackbone):
    """SaShiMi with blocks on the way down as well, a skip connection around each, and plain pools.

    Args:
        d_model, n_layers, pool, expand, ff, dropout, layer: as for ``SashimiBackbone``.
        cff: as ``ff``, at the deepest level.
    """

    unet = True
    pool_linear = nn.Linear

    def __init__(self, cff: Count = 2, **fields: Any):
        self._cff = cff
        super().__init__(**fields)

    def _make(
        self, sizes: list[int], pool: Sequence[int], n_layers: int, dropout: float, ff: tuple[int, int], layer: dict[str, Any]
    ) -> None:
        check_shape(n_layers, pool, cff=self._cff)
        super()._make(sizes, pool, n_layers, dropout, (ff[0], self._cff), layer)


def layer_fields(given: Mapping[str, Any], source: str = "layer") -> dict[str, Any]:
    """The arguments of ``S4Block`` that a layer's config stands for.

    Raises:
        ConfigError: unknown or impossible fields, all of them.
    """
    name = given.get("_name_", "s4")
    if name not in LAYER_NAMES:
        raise ConfigError(f"_name_ is {name!r}; valid: {', '.join(LAYER_NAMES)}", source)
    fields = {**LAYER, **({"mode": "diag"} if name == "s4d" else {}), **{key: value for key, value in given.items() if key != "_name_"}}
    check_layer(fields, source=source)
    return fields


def backbone_of(name: str, fields: Mapping[str, Any], source: str) -> SashimiBackbone:
    """The backbone of a config section, ``sashimi`` or ``unet``; see ``build.build``."""
    where = f"{source} ({name})"
    kind = UnetBackbone if name == "unet" else SashimiBackbone
    valid = keywords_of(SashimiBackbone) | keywords_of(kind)
    check_fields(fields, valid | set(FIXED), source=where)
    fixed = [f"{key} is {fields[key]!r}: only {value!r} is there" for key, value in FIXED.items() if fields.get(key, value) != value]
    if fixed:
        raise ConfigError(fixed, where)
    own = {key: value for key, value in fields.items() if key not in FIXED}
    for one in (SashimiBackbone, kind):
        check_options(one, own, source=where)
    layer_fields(own.get("layer") or {}, f"{source}.layer")
    with said_of(where):
        return kind(**own)
