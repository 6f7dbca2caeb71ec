"""Reads the yaml of a baseline feature, in S3PRL's format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from upstream.blocks.kaldi import KaldiFeatures
from upstream.blocks.kaldi_options import KaldiOptions
from upstream.blocks.spectral import FeatureSpec, SpectralFeatures
from utility.errors import ConfigError, did_you_mean

KALDI_KEYS = ("kaldi", "delta", "cmvn")
SPECTRAL_KEYS = ("win_ms", "hop_ms", "n_freq", "n_mels", "n_mfcc")
DELTA_KEYS = ("order", "win_length")


def kaldi_features(config: Mapping[str, Any], source: str) -> KaldiFeatures:
    """The pipeline of a config with the key ``kaldi``.

    Raises:
        ConfigError: unknown or impossible fields, all at once.
    """
    section, delta, cmvn = (dict(config.get(key) or {}) for key in KALDI_KEYS)
    feat_type = section.pop("feat_type", None)
    options = section.pop(feat_type, None) or {} if isinstance(feat_type, str) else {}
    faults = [*_unknown("", config, KALDI_KEYS), *_unknown("delta.", delta, DELTA_KEYS), *_unknown("cmvn.", cmvn, ("use_cmvn",))]
    faults += _unknown("kaldi.", section, ("feat_type", feat_type if isinstance(feat_type, str) else "fbank"))
    order, window = delta.get("order", 0), delta.get("win_length", 5)
    if not isinstance(order, int) or order < 0 or not isinstance(window, int) or window < 3 or window % 2 == 0:
        faults.append(f"delta.order must be 0 or more and delta.win_length odd and at least 3, not {order!r} and {window!r}")
    try:
        made = KaldiOptions.of(str(feat_type), options, source)
    except ConfigError as error:
        raise ConfigError([*faults, *error.faults], source) from error
    if faults:
        raise ConfigError(faults, source)
    return KaldiFeatures(made, order, window, bool(cmvn.get("use_cmvn", False)))


def spectral_features(config: Mapping[str, Any], source: str) -> tuple[SpectralFeatures, FeatureSpec]:
    """The transform and the feature of a config with the key ``input``.

    Raises:
        ConfigError: unknown or impossible fields, all at once.
    """
    faults = _unknown("", config, (*SPECTRAL_KEYS, "input"))
    try:
        spec = FeatureSpec.of(config.get("input") or {}, source)
    except ConfigError as error:
        raise ConfigError([*faults, *error.faults], source) from error
    numbers = {k: config[k] for k in SPECTRAL_KEYS if k in config}
    faults += [f"{k} must be a number, not {v!r}" for k, v in numbers.items() if isinstance(v, bool) or not isinstance(v, int | float)]
    if faults:
        raise ConfigError(faults, source)
    try:
        return SpectralFeatures(**numbers), spec
    except ConfigError as error:
        raise ConfigError(error.faults, source) from error


def _unknown(prefix: str, given: Mapping[str, Any], valid: tuple[str, ...]) -> list[str]:
    return [f"unknown field {prefix}{key}{did_you_mean(str(key), valid)}" for key in given if key not in valid]
