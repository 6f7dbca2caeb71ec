"""S3PRL's yaml of extraction options (``-g FILE``), whose values are texts such as "True" or "default"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utility.errors import ConfigError, did_you_mean
from utility.experiment.config import load_config

FIXED = {"spec_aug": False, "output_hidden_states": True, "permute_input": False}
WITHOUT_EFFECT = ("ckpt_file", "select_layer", "spec_aug_prev")
FLAGS = {"true": True, "false": False}


@dataclass(frozen=True)
class ExtractionOptions:
    """How a model is used.

    Args:
        load_pretrain: use the weights of the file; False: only its config, for a comparison with random weights.
        no_grad: build no graph even when fine-tuning.
        dropout: replaces both of the config's; None keeps them.
    """

    load_pretrain: bool = True
    no_grad: bool = False
    dropout: float | None = None

    @classmethod
    def read(cls, path: str | Path | None) -> ExtractionOptions:
        """From a yaml file; the defaults without one.

        Raises:
            ConfigError: unknown or impossible options, all at once.
        """
        return cls() if path is None else cls.of(load_config(path), str(path))

    @classmethod
    def of(cls, given: Mapping[str, Any], source: str) -> ExtractionOptions:
        """From the yaml's content; see :meth:`read`."""
        known = ["load_pretrain", "no_grad", "dropout", *FIXED, *WITHOUT_EFFECT]
        faults = [f"unknown option {key!r}{did_you_mean(str(key), known)}" for key in given if key not in known]
        flags = {key: FLAGS.get(str(given[key]).lower()) for key in ("load_pretrain", "no_grad", *FIXED) if key in given}
        faults += [f"{key} must be True or False, not {given[key]!r}" for key, value in flags.items() if value is None]
        faults += [
            f"{key} {flags[key]} is not offered ({'the task has SpecAugment' if key == 'spec_aug' else f'only {only}'})"
            for key, only in FIXED.items()
            if flags.get(key) is (not only)
        ]
        dropout = given.get("dropout", "default")
        if dropout != "default" and (number := _share(dropout)) is None:
            faults.append(f'dropout must be "default" or 0 or more and below 1, not {dropout!r}')
        if faults:
            raise ConfigError(faults, source)
        return cls(flags.get("load_pretrain", True), flags.get("no_grad", False), None if dropout == "default" else number)


def _share(value: Any) -> float | None:
    """The number in 0 ... 1 that a yaml value or its text is."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if 0 <= number < 1 else None
