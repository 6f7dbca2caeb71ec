"""Recurrent layers over the frames, as S3PRL's recognition tasks have them (spec: downstream-content.md 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from downstream.blocks.frames import STYLES, downsample
from downstream.blocks.padded_recurrent import over_lengths
from utility.errors import ConfigError, UnknownNameError
from utility.training.fields import Count, Part

MODULES: dict[str, type[nn.RNNBase]] = {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN": nn.RNN}


class RNNLayer(nn.Module):
    """One recurrent layer with what follows it: layer norm, dropout, every n-th frame, tanh of a linear layer, each if wanted.

    Args:
        input_dim: width of the features.
        module: ``"LSTM"``, ``"GRU"`` or ``"RNN"``.
        bidirection: run both ways; the width of the result doubles.
        dim: width of each way.
        dropout: part of the results that is dropped in training.
        layer_norm: normalise over the width.
        sample_rate: keep every n-th frame.
        proj: a linear layer of the same width, and tanh, at the end.
    """

    def __init__(
        self, input_dim: int, module: str, bidirection: bool, dim: int, dropout: float, layer_norm: bool, sample_rate: int, proj: bool
    ):
        super().__init__()
        self.output_dim = dim * (2 if bidirection else 1)
        self.layer = MODULES[module](input_dim, dim, batch_first=True, bidirectional=bidirection)
        self.ln = nn.LayerNorm(self.output_dim) if layer_norm else None
        self.dropout = nn.Dropout(dropout)
        self.sample_rate = sample_rate
        self.pj = nn.Linear(self.output_dim, self.output_dim) if proj else None

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, input_dim), lengths (B,) on the CPU -> (B, T', output_dim) and lengths; padding does not reach the true frames."""
        out = over_lengths(self.layer, features, lengths)
        if self.ln is not None:
            out = self.ln(out)
        out, lengths = downsample(self.dropout(out), lengths, self.sample_rate, "drop")
        return (out if self.pj is None else self.pj(out).tanh()), lengths


class RNNs(nn.Module):
    """Fewer frames if wanted, recurrent layers, and a linear layer on every frame.

    Args:
        input_dim: width of the features.
        output_dim: number of classes.
        upstream_rate: samples per feature frame.
        module: ``"LSTM"``, ``"GRU"`` or ``"RNN"``.
        bidirection: run both ways.
        dim: widths of the layers.
        dropout, layer_norm, proj, sample_rate: one value per layer, see :class:`RNNLayer`; none of it by default.
        sample_style: how frames become fewer before the first layer, ``"concat"`` or ``"drop"`` (between layers it is always ``"drop"``).
        total_rate: samples per frame before the first layer; -1 leaves the features as they are.

    Raises:
        UnknownNameError: no such module or style.
        ConfigError: not one value per layer, or a rate that the features cannot be brought to.
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        upstream_rate: int,
        module: str = "LSTM",
        bidirection: bool = True,
        dim: Sequence[Count] = (1024, 1024),
        dropout: Sequence[Part] | None = None,
        layer_norm: Sequence[bool] | None = None,
        proj: Sequence[bool] | None = None,
        sample_rate: Sequence[Count] | None = None,
        sample_style: str = "concat",
        total_rate: int = 320,
    ):
        super().__init__()
        for kind, name, valid in (("module of RNNs", module, MODULES), ("sample_style", sample_style, STYLES)):
            if name not in valid:
                raise UnknownNameError(kind, str(name), valid)
        options = _per_layer(dim=dim, dropout=dropout, layer_norm=layer_norm, proj=proj, sample_rate=sample_rate)
        self.rate, self.style = _steps_per_frame(upstream_rate, total_rate), sample_style
        width, layers = input_dim * (self.rate if sample_style == "concat" else 1), []
        for layer in options:
            layers.append(RNNLayer(width, module, bidirection, **layer))
            width = layers[-1].output_dim
        self.rnns = nn.ModuleList(layers)
        self.linear = nn.Linear(width, output_dim)

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """
        Args:
            features: (B, T, input_dim).
            lengths: (B,), the numbers of true frames, at least 1 each.

        Returns:
            logits (B, T', output_dim), and the numbers of true frames of them (B,), on the device of ``lengths``.
        """
        device = lengths.device
        out, lengths = downsample(features, lengths.cpu(), self.rate, self.style)
        for rnn in self.rnns:
            out, lengths = rnn(out, lengths)
        return self.linear(out), lengths.to(device)


_NOTHING: dict[str, Any] = {"dropout": 0.0, "layer_norm": False, "proj": False, "sample_rate": 1}


def _per_layer(dim: Sequence[int], **options: Sequence[Any] | None) -> list[dict[str, Any]]:
    """Keywords of each layer."""
    given = {"dim": list(dim)} | {name: [_NOTHING[name]] * len(dim) if value is None else value for name, value in options.items()}
    unfit = {name: value for name, value in given.items() if not isinstance(value, list | tuple) or len(value) != len(dim)}
    faults = [f"{name} must have one value per layer, {len(dim)} in all, not {value!r}" for name, value in unfit.items()]
    if not dim:
        faults.append("dim must name at least one width")
    if faults:
        raise ConfigError(faults, "RNNs")
    return [dict(zip(given, values, strict=True)) for values in zip(*given.values(), strict=True)]


def _steps_per_frame(upstream_rate: int, total_rate: int) -> int:
    """How many feature frames become one: round(total_rate / upstream_rate), or 1 for a total rate of -1."""
    steps = 1 if total_rate == -1 else round(total_rate / upstream_rate)
    if steps < 1:
        raise ConfigError(f"total_rate {total_rate} is finer than the upstream's {upstream_rate} samples per frame; -1 keeps those", "RNNs")
    return steps
