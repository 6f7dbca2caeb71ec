"""The net that a PASE config file describes (JSON or yaml; specs/upstreams.md, section 6)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from utility.errors import ConfigError, did_you_mean
from utility.experiment.config import load_config

_FIXED: dict[str, tuple[Any, ...]] = {
    "sincnet": (True,),
    "norm_type": ("bnorm",),
    "pad_mode": ("reflect",),
    "rnn_type": ("qrnn",),
    "densemerge": ("sum",),
    "activation": (None, "prelu"),
    "vq_K": (None,),
    "name": (),
}
"""Fields of the original whose other values are not supported; ``name`` may be anything."""
_LISTS, _SIZES = ("kwidths", "strides", "fmaps"), ("emb_dim", "sr", "rnn_dim", "rnn_layers")
_FLAGS = ("denseskips", "norm_out", "rnn_pool", "tanh_out")


@dataclass(frozen=True)
class PaseConfig:
    """Sizes and switches of the net.

    Args:
        kwidths, strides, fmaps: kernel, stride and channels of each block.
        emb_dim: width of the output.
        sr: sample rate in Hz.
        denseskips: the blocks' outputs are projected, pooled and added to the output.
        rnn_pool, rnn_dim, rnn_layers: a QRNN of so many layers and such width before the last projection; ``rnn_dim`` None means
            ``emb_dim``.
        rnn_dropout: dropout between its layers, in training.
        norm_out: batch norm without affine parameters at the end.
        tanh_out: tanh at the very end.
    """

    kwidths: tuple[int, ...] = (251, 20, 11, 11, 11, 11, 11, 11)
    strides: tuple[int, ...] = (1, 10, 2, 1, 2, 1, 2, 2)
    fmaps: tuple[int, ...] = (64, 64, 128, 128, 256, 256, 512, 512)
    emb_dim: int = 256
    sr: int = 16000
    denseskips: bool = False
    rnn_pool: bool = False
    rnn_dim: int | None = None
    rnn_layers: int = 1
    rnn_dropout: float = 0.0
    norm_out: bool = False
    tanh_out: bool = False

    @property
    def rate(self) -> int:
        """Samples per frame."""
        product = 1
        for stride in self.strides:
            product *= stride
        return product

    @property
    def rnn_width(self) -> int:
        """The QRNN's width, which is even: the original halves and doubles it."""
        return (self.rnn_dim or self.emb_dim) // 2 * 2


def read_pase_config(path: Path) -> PaseConfig:
    """Reads the JSON (or yaml) file of a frontend.

    Raises:
        ConfigError: unreadable, or wrong, unknown or unsupported fields, all at once.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError):
        content = load_config(path)  # says what is wrong with it
    if not isinstance(content, dict):
        raise ConfigError("a mapping of fields is expected", str(path))
    return pase_config(content, str(path))


def pase_config(content: Mapping[str, Any], source: str) -> PaseConfig:
    """The config of such a file's content.

    Raises:
        ConfigError: see :func:`read_pase_config`.
    """
    names = [f.name for f in fields(PaseConfig)]
    known = [*names, *_FIXED]
    faults = [f"unknown field {key}{did_you_mean(str(key), known)}" for key in content if key not in known]
    faults += [fault for key, value in content.items() if (fault := _fault(key, value))]
    if faults:
        raise ConfigError(faults, source)
    made = PaseConfig(**{key: tuple(value) if key in _LISTS else value for key, value in content.items() if key in names})
    if not len(made.kwidths) == len(made.strides) == len(made.fmaps):
        raise ConfigError("kwidths, strides and fmaps must have the same length", source)
    if made.kwidths[0] % 2 == 0 or made.strides[0] != 1:
        raise ConfigError("the first block, a bank of filters, needs an odd kwidths[0] and the stride 1", source)
    return made


def _fault(key: str, value: Any) -> str | None:
    if key in _LISTS and not (isinstance(value, list) and value and all(_positive(number) for number in value)):
        return f"{key} must be a list of positive whole numbers, not {value!r}"
    if key in _SIZES and not _positive(value) and not (key == "rnn_dim" and value is None):
        return f"{key} must be a positive whole number, not {value!r}"
    if key in _FLAGS and type(value) is not bool:
        return f"{key} must be true or false, not {value!r}"
    if key == "rnn_dropout" and (type(value) not in (int, float) or not 0 <= value < 1):
        return f"rnn_dropout must lie in [0, 1), not {value!r}"
    if _FIXED.get(key) and value not in _FIXED[key]:
        return f"{key} {value!r} is not supported, only {' or '.join(map(repr, _FIXED[key]))}"
    return None


def _positive(value: Any) -> bool:
    return type(value) is int and value > 0
