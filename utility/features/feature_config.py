"""The ``audio`` section of a config in S3PRL's format: Kaldi features with deltas and CMVN, or features of a centred STFT.

Real configs carry more than one feature needs: options of the other Kaldi features, the target of a pre-training task. Those are known
names and left alone; unknown ones are refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from utility.errors import ConfigError, did_you_mean
from utility.features.kaldi import KaldiFeatures
from utility.features.kaldi_options import OPTIONS, KaldiOptions
from utility.features.spectral import FeatureSpec, SpectralFeatures

KALDI_KEYS = ("kaldi", "delta", "cmvn")
SPECTRAL_KEYS = ("win_ms", "hop_ms", "n_freq", "n_mels", "n_mfcc")
DELTA_KEYS = ("order", "win_length")


def kaldi_features(config: Mapping[str, Any], source: str, ignored: Iterable[str] = ()) -> KaldiFeatures:
    """The pipeline of a config with the key ``kaldi``.

    Args:
        config: ``{kaldi: {feat_type, <feat_type>: {...}}, delta: {order, win_length}, cmvn: {use_cmvn}}``.
        source: the file, for the sentence.
        ignored: further top-level keys that are fine.

    Raises:
        ConfigError: unknown or impossible fields, all at once.
    """
    section, delta, cmvn = (_mapping(config, key, source) for key in KALDI_KEYS)
    feat_type = section.pop("feat_type", None)
    options = _mapping(section, str(feat_type), source)
    faults = [*_unknown("", config, (*KALDI_KEYS, *ignored)), *_unknown("kaldi.", section, OPTIONS)]
    faults += [*_unknown("delta.", delta, DELTA_KEYS), *_unknown("cmvn.", cmvn, ("use_cmvn",))]
    order, window = delta.get("order", 0), delta.get("win_length", 5)
    if type(order) is not int or order < 0 or type(window) is not int or window < 3 or window % 2 == 0:
        faults.append(f"delta.order must be 0 or more and delta.win_length odd and at least 3, not {order!r} and {window!r}")
    try:
        made = KaldiOptions.of(str(feat_type), options, source)
    except ConfigError as error:
        raise ConfigError([*faults, *error.faults], source) from error
    if faults:
        raise ConfigError(faults, source)
    return KaldiFeatures(made, order, window, bool(cmvn.get("use_cmvn", False)))


def spectral_features(config: Mapping[str, Any], source: str, ignored: Iterable[str] = ()) -> tuple[SpectralFeatures, FeatureSpec]:
    """The transform and the feature of a config with the key ``input``; arguments and errors as in :func:`kaldi_features`."""
    faults = _unknown("", config, (*SPECTRAL_KEYS, "input", *ignored))
    try:
        spec = FeatureSpec.of(_mapping(config, "input", source), source)
    except ConfigError as error:
        raise ConfigError([*faults, *error.faults], source) from error
    numbers = {key: config[key] for key in SPECTRAL_KEYS if key in config}
    faults += [f"{k} must be a number, not {v!r}" for k, v in numbers.items() if not is_number(v)]
    if faults:
        raise ConfigError(faults, source)
    try:
        return SpectralFeatures(**numbers), spec
    except ConfigError as error:
        raise ConfigError(error.faults, source) from error


def is_number(value: Any) -> bool:
    """Whether a setting is a finite number."""
    return type(value) in (int, float) and math.isfinite(value)


def _mapping(config: Mapping[str, Any], key: str, source: str) -> dict[str, Any]:
    """A copy of a section; empty where there is none."""
    value = config.get(key) or {}
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key} must be a mapping, not {value!r}", source)
    return dict(value)


def _unknown(prefix: str, given: Mapping[str, Any], valid: Iterable[str]) -> list[str]:
    valid = list(valid)
    return [f"unknown field {prefix}{key}{did_you_mean(str(key), valid)}" for key in given if key not in valid]
