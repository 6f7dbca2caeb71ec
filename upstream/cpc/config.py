"""The settings that a CPC checkpoint carries, as far as the features depend on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from utility.errors import CheckpointError, did_you_mean

_CHOICES = {
    "encoder_type": ("cpc",),
    "normMode": ("layerNorm", "batchNorm"),
    "arMode": ("LSTM", "GRU", "RNN"),
    "cpc_mode": ("None", "reverse"),
}
_SIZES = ("hiddenEncoder", "hiddenGar", "nLevelsGRU")


@dataclass(frozen=True)
class CpcConfig:
    """Defaults as in Riviere et al. 2020 (specs/upstreams.md, section 5).

    Args:
        hidden_encoder, hidden_gar: widths of encoder and recurrence.
        levels: layers of the recurrence.
        recurrence: ``LSTM``, ``GRU`` or ``RNN``.
        norm: ``layerNorm`` (over the channels) or ``batchNorm``.
        reverse: the recurrence runs from the end to the beginning.
    """

    hidden_encoder: int = 256
    hidden_gar: int = 256
    levels: int = 1
    recurrence: str = "LSTM"
    norm: str = "layerNorm"
    reverse: bool = False

    @classmethod
    def of(cls, config: Mapping[str, Any], source: str) -> CpcConfig:
        """From a checkpoint's flat ``config``; other fields (the training's) are ignored.

        Raises:
            CheckpointError: a kind of model that is not supported, or an impossible size.
        """
        defaults: dict[str, Any] = {"hiddenEncoder": 256, "hiddenGar": 256, "nLevelsGRU": 1}
        defaults |= {"encoder_type": "cpc", "normMode": "layerNorm", "arMode": "LSTM", "cpc_mode": None}
        said = {key: config.get(key, default) for key, default in defaults.items()}
        for key in _SIZES:
            if type(said[key]) is not int or said[key] < 1:
                raise CheckpointError(f"{source}: config.{key} must be a positive whole number, not {said[key]!r}")
        for key, choices in _CHOICES.items():
            if str(said[key]) not in choices:
                raise CheckpointError(f"{source}: config.{key} {said[key]!r} is not supported{did_you_mean(str(said[key]), choices)}")
        sizes = [said[key] for key in _SIZES]
        return cls(*sizes, said["arMode"], said["normMode"], said["cpc_mode"] == "reverse")
