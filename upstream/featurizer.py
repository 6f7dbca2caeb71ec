"""From an upstream's dict to what a task reads: selection and weighted sum of layers, and cutting to each utterance's frames."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from utility.errors import DataError, ToolkitError, UsageError, did_you_mean

PROBE_SAMPLES = 16000
TOLERABLE_FRAME_DIFF = 5
LENGTH_RULES: dict[str, Callable[[float], int]] = {"round": round, "ceil": math.ceil}
NO_SUM_ADVICE = "when fine-tuning, read one state: `-f -s last_hidden_state` or `-f -l -1`"


@contextmanager
def undisturbed(*modules: Any) -> Iterator[None]:
    """Puts the modules into eval mode and afterwards restores the mode of each part and every global random stream."""
    modes = [(part, part.training) for module in modules for part in module.modules()]
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[torch.cuda.current_device()] if torch.cuda.is_initialized() else []):
            for module in modules:
                module.eval()
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        for part, mode in modes:
            part.training = mode


def probe(upstream: nn.Module, device: str | torch.device, samples: int = PROBE_SAMPLES) -> dict[str, Any]:
    """The upstream's dict for one second of fixed noise, without touching any global random stream."""
    noise = torch.randn(samples, generator=torch.Generator().manual_seed(0)).to(device)
    with undisturbed(upstream), torch.no_grad():
        return upstream([noise])


class Featurizer(nn.Module):
    """Weighted sum of an upstream's layers, cut to the frames of each utterance (S3PRL's Featurizer).

    Where several layers are selected there is one parameter, ``weights`` (one per layer, zeros at first); their softmax weighs the sum.

    Args:
        upstream: the module that gives the dicts; probed once with a second of noise and not kept.
        feature_selection: key of the dict.
        upstream_device: device of the upstream.
        layer_selection: index into the selected list; negative ones count from the end.
        normalize: layer norm (no affine) over D of each layer before the sum; without effect on a single layer.
        length_rule: ``"round"`` keeps round(len / rate) frames, half to even, fewer where there are fewer; ``"ceil"`` keeps
            ceil(len / rate), the last own frame repeated where there are fewer; ``"own"`` keeps what the upstream's ``lengths`` say.

    Attributes:
        output_dim: D.
        downsample_rate: samples per frame.
        layer_num: number of layers summed, 1 where a single one is selected.

    Raises:
        UsageError: unknown key, layer or length rule.
    """

    def __init__(
        self,
        upstream: nn.Module,
        feature_selection: str = "hidden_states",
        upstream_device: str | torch.device = "cpu",
        layer_selection: int | None = None,
        normalize: bool = False,
        length_rule: str = "round",
    ):
        super().__init__()
        self.name = getattr(upstream, "name", None) or type(upstream).__name__
        self.layer_selection, self.normalize = layer_selection, normalize
        features = probe(upstream, upstream_device)
        self.tells_lengths = "lengths" in features
        self.length_rule, self._side_by_side = length_rule, None
        self.feature_selection = self._known_key(features, feature_selection)
        selected = self._select(features)
        self._check_kind(selected)
        self.layer_num = 1 if isinstance(selected, Tensor) else len(selected)
        if self.layer_num > 1:
            self._check_widths(selected)
            self.weights = nn.Parameter(torch.zeros(self.layer_num))
        shown = selected if isinstance(selected, Tensor) else selected[0]
        self.output_dim = shown.size(-1)
        self.downsample_rate = self._rate(upstream, shown.size(1))

    @property
    def length_rule(self) -> str:
        """How padded features are cut; may be changed at any time."""
        return self._length_rule

    @length_rule.setter
    def length_rule(self, rule: str) -> None:
        if rule not in (*LENGTH_RULES, "own"):
            raise UsageError(f"unknown length rule {rule!r}{did_you_mean(rule, [*LENGTH_RULES, 'own'])}")
        if rule == "own" and not self.tells_lengths:
            raise UsageError(f"upstream {self.name} gives no 'lengths', which the length rule 'own' needs; use 'round' or 'ceil'")
        self._length_rule = rule

    @property
    def side_by_side(self) -> tuple[int, ...] | None:
        """Numbers of states that are given one beside the other, in place of a weighted sum; None: the sum. May be changed at any time."""
        return self._side_by_side

    @side_by_side.setter
    def side_by_side(self, layers: Sequence[int] | None) -> None:
        if layers is not None and (not layers or not all(0 <= layer < self.layer_num for layer in layers) or self.layer_num == 1):
            there = f"states 0 to {self.layer_num - 1}" if self.layer_num > 1 else "one state alone"
            key = f"{self.feature_selection!r} of upstream {self.name}"
            raise UsageError(f"the states {list(layers)} are needed, but {key} has {there}")
        self._side_by_side = None if layers is None else tuple(layers)

    def forward(self, wavs: Sequence[Tensor], features: Mapping[str, Any]) -> list[Tensor]:
        """
        Args:
            wavs: the waveforms that went in; only their lengths are used.
            features: what the upstream returned for them.

        Returns:
            list of (T_i, D).

        Raises:
            ToolkitError: the upstream gave other layers than when probed, or its frames do not fit its rate.
        """
        selected = self._select(features)
        if self.side_by_side is not None:
            padded = torch.cat([self._scaled(selected[layer]) for layer in self.side_by_side], dim=-1)
        else:
            padded = selected if isinstance(selected, Tensor) else self._weighted_sum(selected)
        return self._cut(padded, [len(wav) for wav in wavs], features.get("lengths"))

    def _known_key(self, features: Mapping[str, Any], key: str) -> str:
        if key in features:
            return key
        sentence = f"upstream {self.name} has no feature {key!r}{did_you_mean(key, [k for k in features if k[0] != '_'])}"
        if "hidden_states" not in features:
            raise UsageError(sentence)
        warnings.warn(f"{sentence}; hidden_states is used instead", stacklevel=3)
        return "hidden_states"

    def _select(self, features: Mapping[str, Any]) -> Tensor | list[Tensor]:
        """The selected tensor, or the list of those to be summed."""
        if self.feature_selection not in features:
            raise ToolkitError(f"upstream {self.name} gave no {self.feature_selection!r} for this batch, though it did when probed")
        value = features[self.feature_selection]
        layers = list(value.values()) if isinstance(value, Mapping) else list(value) if isinstance(value, (list, tuple)) else [value]
        index = self.layer_selection
        if index is None:
            return layers[0] if len(layers) == 1 else layers
        if not -len(layers) <= index < len(layers):
            valid = f"{-len(layers)} to {len(layers) - 1}"
            raise UsageError(f"layer {index} is out of range: {self.feature_selection!r} of upstream {self.name} has layers {valid}")
        return layers[index]

    def _check_kind(self, selected: Any) -> None:
        """Raises UsageError for what is in an upstream's dict but no feature: lengths, masks, numbers of codes, names."""
        layers = selected if isinstance(selected, list) else [selected]
        wrong = [layer for layer in layers if not (isinstance(layer, Tensor) and layer.dim() == 3 and layer.is_floating_point())]
        if wrong or not layers:
            found = "nothing" if not layers else _kind(wrong[0])
            raise UsageError(
                f"{self.feature_selection!r} of upstream {self.name} is no feature: it holds {found}, "
                "not (batch, frames, width) tensors of real numbers"
            )

    def _check_widths(self, layers: list[Tensor]) -> None:
        shapes = sorted({tuple(layer.shape) for layer in layers})
        if len(shapes) > 1:
            raise UsageError(
                f"the layers of {self.feature_selection!r} of upstream {self.name} differ in shape ({shapes}) and cannot be summed; "
                f"select one with -l 0 to {len(layers) - 1}"
            )

    def _weighted_sum(self, layers: list[Tensor]) -> Tensor:
        """Softmax-weighted sum of (B, T, D) layers, at least in float32, one after the other without a stacked copy of them."""
        if len(layers) != self.layer_num:
            raise ToolkitError(
                f"upstream {self.name} gave {len(layers)} layers, {self.layer_num} when probed (layerdrop?); {NO_SUM_ADVICE}"
            )
        total: Tensor | None = None
        for weight, layer in zip(torch.softmax(self.weights, dim=0), layers, strict=True):
            layer = self._scaled(layer)
            total = layer * weight if total is None else torch.addcmul(total, layer, weight)
        return total

    def _scaled(self, layer: Tensor) -> Tensor:
        """One (B, T, D) state, at least in float32, normalised if that is asked for."""
        layer = layer.float() if layer.dtype in (torch.float16, torch.bfloat16) else layer
        return F.layer_norm(layer, layer.shape[-1:]) if self.normalize else layer

    def _rate(self, upstream: nn.Module, frames: int) -> int:
        if hasattr(upstream, "get_downsample_rates"):
            return upstream.get_downsample_rates(self.feature_selection)
        rate = round(PROBE_SAMPLES / frames)
        warnings.warn(f"upstream {self.name} tells no downsample rate; {rate} samples per frame were measured", stacklevel=3)
        return rate

    def _cut(self, padded: Tensor, samples: list[int], own: Tensor | Sequence[int] | None) -> list[Tensor]:
        """Cuts (B, T, D) to the frames of each utterance by the length rule."""
        if padded.dim() != 3 or len(padded) != len(samples):
            raise ToolkitError(
                f"{self.feature_selection!r} of upstream {self.name} has shape {tuple(padded.shape)}, not ({len(samples)}, T, D)"
            )
        own = None if own is None else [int(n) for n in (own.tolist() if isinstance(own, Tensor) else own)]
        if self.length_rule == "own":
            return [item[:n] for item, n in zip(padded, own, strict=True)]
        frames = [LENGTH_RULES[self.length_rule](n / self.downsample_rate) for n in samples]
        self._check_frames(padded.size(1), max(samples))
        if self.length_rule == "round":
            return [item[:n] for item, n in zip(padded, frames, strict=True)]
        own = own or [padded.size(1)] * len(samples)
        return [_extended(item[: min(n, have)], n) for item, n, have in zip(padded, frames, own, strict=True)]

    def _check_frames(self, frames: int, samples: int) -> None:
        expected = round(samples / self.downsample_rate)
        if abs(frames - expected) >= TOLERABLE_FRAME_DIFF:
            raise DataError(
                f"upstream {self.name} gave {frames} frames for {samples} samples, which at {self.downsample_rate} samples per frame "
                f"should be {expected} (differences of {TOLERABLE_FRAME_DIFF} and more are refused)"
            )


def _kind(value: Any) -> str:
    """What a value is, in words."""
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    return f"a tensor of {str(value.dtype).removeprefix('torch.')} of the shape {tuple(value.shape)}"


def _extended(frames: Tensor, length: int) -> Tensor:
    """(T, D) with its last frame repeated up to ``length``."""
    missing = length - len(frames)
    return torch.cat([frames, frames[-1:].expand(missing, -1)]) if missing > 0 else frames
