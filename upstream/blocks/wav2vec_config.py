"""The settings of wav2vec 1.0 and vq-wav2vec models, from converted and from fairseq's own checkpoints (specs/upstreams.md, section 10)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from upstream.blocks.fairseq_files import FairseqModel
from utility.errors import CheckpointError, did_you_mean
from utility.networks.conv_layers import conv_layers
from utility.networks.fields import not_a_share

Layers = list[tuple[int, ...]]

_FEATURE_LAYERS = "[(512, 10, 5), (512, 8, 4)] + [(512, 4, 2)] * 3 + [(512, 1, 1)] * 2"
_AGGREGATOR_LAYERS = [(512, kernel, 1) for kernel in range(2, 14)]
_OLD_DEFAULTS = {"conv_aggregator_layers": "[(512, 3, 1)] * 9", "skip_connections_agg": False, "log_compression": False}
"""What fairseq's architecture function of the argparse days filled in; the dataclass that came after has other defaults."""
_CHOICES = {
    "aggregator": ("cnn",),
    "activation": ("relu", "gelu"),
    "vq_type": ("none", "gumbel", "kmeans"),
    "skip_connections_feat": ("False",),
}
_NAMES = ("wav2vec",)


@dataclass(frozen=True)
class Wav2VecConfig:
    """Fields under fairseq's names; those that only the training needs are left out.

    Args:
        conv_feature_layers, conv_aggregator_layers: (channels, kernel, stride) of each convolution.
        dropout_features, dropout_agg: in the blocks of the extractor and of the aggregator, in training.
        no_conv_bias, agg_zero_pad, skip_connections_agg, residual_scale: of the aggregator.
        log_compression: ln(1 + |z|) of the extractor's output.
        non_affine_group_norm: norms without weight and bias.
        activation: ``relu`` or ``gelu``.
        vq_type: ``none``, ``gumbel`` or ``kmeans``.
        vq_vars, vq_groups, vq_dim, vq_depth, combine_groups: entries and groups of the codebook, its width (0: the extractor's), layers of
            the Gumbel projection, one codebook for all groups.
    """

    conv_feature_layers: Layers = field(default_factory=lambda: conv_layers(_FEATURE_LAYERS, "default"))
    conv_aggregator_layers: Layers = field(default_factory=lambda: list(_AGGREGATOR_LAYERS))
    dropout_features: float = 0.0
    dropout_agg: float = 0.0
    no_conv_bias: bool = False
    agg_zero_pad: bool = False
    skip_connections_agg: bool = True
    residual_scale: float = 0.5
    log_compression: bool = True
    non_affine_group_norm: bool = False
    activation: str = "relu"
    vq_type: str = "none"
    vq_vars: int = 320
    vq_groups: int = 2
    vq_dim: int = 0
    vq_depth: int = 1
    combine_groups: bool = False

    @property
    def embed(self) -> int:
        """Width of the extractor's output."""
        return self.conv_feature_layers[-1][0]

    @property
    def codeword(self) -> int:
        """Width of what goes into the aggregator of a model with a codebook."""
        return self.vq_dim or self.embed

    @property
    def rate(self) -> int:
        """Samples per frame."""
        product = 1
        for _, _, stride in self.conv_feature_layers:
            product *= stride
        return product


def wav2vec_config(read: FairseqModel, path: str) -> Wav2VecConfig:
    """The config of a checkpoint.

    Raises:
        CheckpointError: another kind of model, or wrong or unsupported settings, all at once.
    """
    kind = read.model.get("_name") or read.model.get("arch")
    if kind is not None and kind not in _NAMES:
        raise CheckpointError(f"{path} holds a model of the kind {kind!r}; this upstream reads {' and '.join(map(repr, _NAMES))}")
    said = {**_OLD_DEFAULTS, **read.model} if read.form == "args" else dict(read.model)
    chosen = {f.name: said[f.name] for f in fields(Wav2VecConfig) if said.get(f.name) is not None}
    for name in ("conv_feature_layers", "conv_aggregator_layers"):
        if name in chosen:
            chosen[name] = conv_layers(chosen[name], f"{path}: {name}")
    made = Wav2VecConfig(**chosen)
    faults = [*_unsupported(said), *_wrong_types(made)] or _impossible(made)
    if faults:
        raise CheckpointError(f"{path}: " + "; ".join(faults))
    return made


def _unsupported(said: Mapping[str, Any]) -> list[str]:
    return [
        f"{name} {said[name]!r} is not supported{did_you_mean(str(said[name]), choices)}"
        for name, choices in _CHOICES.items()
        if said.get(name) is not None and str(said[name]) not in choices
    ]


def _wrong_types(made: Wav2VecConfig) -> list[str]:
    """Fields whose type is not that of their default."""
    plain = {f.name: f.default for f in fields(made) if isinstance(f.default, (bool, int, float))}
    wrong = {name: default for name, default in plain.items() if not _same_type(getattr(made, name), default)}
    return [f"{name} must be {type(default).__name__}, not {getattr(made, name)!r}" for name, default in wrong.items()]


def _same_type(value: Any, default: Any) -> bool:
    return type(value) in ((int, float) if type(default) is float else (type(default),))


def _impossible(made: Wav2VecConfig) -> list[str]:
    faults = not_a_share(made, ("dropout_features", "dropout_agg"))
    if not 0 <= made.residual_scale < math.inf:
        faults.append(f"residual_scale must be 0 or more, not {made.residual_scale!r}")
    if any(stride != 1 for _, _, stride in made.conv_aggregator_layers):
        faults.append("conv_aggregator_layers: strides other than 1 are not supported")
    widths = {width for width, _, _ in made.conv_aggregator_layers} | {made.codeword if made.vq_type != "none" else made.embed}
    if made.skip_connections_agg and len(widths) > 1:
        faults.append(f"skip_connections_agg with layers of different widths ({', '.join(map(str, sorted(widths)))}) is not supported")
    if made.vq_type != "none":
        sizes = {name: getattr(made, name) for name in ("vq_vars", "vq_groups", "vq_depth")}
        faults += [f"{name} must be positive, not {value}" for name, value in sizes.items() if value < 1]
        if made.vq_groups > 0 and made.codeword % made.vq_groups:
            faults.append(f"a codebook of {made.vq_groups} groups cannot be {made.codeword} wide")
    return faults
